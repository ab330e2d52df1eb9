"""A live AG Grid: only the rows that change are sent."""

import dash_ag_grid as dag
from dash import html

from dash_app.pages import card, page
from dash_app.publishers import rows, trade
from ws_service.dash import Live

THEME = """themeQuartz.withParams({backgroundColor: 'var(--card)', foregroundColor: 'var(--ink)', fontFamily: 'inherit',
headerBackgroundColor: 'var(--card)', valueChangeValueHighlightBackgroundColor: 'var(--flash)', wrapperBorder: 0})"""


def layout() -> html.Div:
    number = {"type": "rightAligned", "valueFormatter": {"function": "d3.format(',.2f')(params.value)"}}
    grid = dag.AgGrid(
        id="grid",
        rowData=rows(),
        columnDefs=[
            {"field": "id", "headerName": "Name"},
            {"field": "price", **number, "enableCellChangeFlash": True},
            {"field": "change", **number},
        ],
        defaultColDef={"flex": 1, "minWidth": 80},
        getRowId="params.data.id",
        dashGridOptions={"theme": {"function": THEME}, "domLayout": "autoHeight"},
    )
    return page(
        "A live table",
        "A process that is not Dash changes three rows at a time, three times a second. Names and prices are made up.",
        Live("table", into="grid", mode="rowTransaction"),
        card(grid, kind="flat"),
        lines=[trade, layout],
    )
