"""A table whose rows change in every open page as soon as `feed.py` publishes them."""

import dash_ag_grid as dag
from dash import Dash, html
from feed import MACHINES

from ws_service.dash import Live

COLUMNS = [
    {"field": "id", "headerName": "Machine"},
    {"field": "state", "filter": True},
    {"field": "temperature", "headerName": "°C", "type": "rightAligned"},
    {"field": "parts", "headerName": "Parts today", "type": "rightAligned"},
]

app = Dash(__name__, title="Machines")
app.layout = html.Main(
    [
        html.H1("Machines"),
        html.P("Sort, filter or scroll while it runs: only cells that have changed are drawn again."),
        dag.AgGrid(
            id="machines",
            columnDefs=COLUMNS,
            defaultColDef={"sortable": True, "enableCellChangeFlash": True, "minWidth": 110},
            rowData=[{"id": name} for name in MACHINES],
            getRowId="params.data.id",  # without it AG Grid cannot tell which row an update is for
            columnSize="responsiveSizeToFit",
        ),
        Live("machines", into="machines", mode="rowTransaction"),
    ]
)
server = app.server
server.test_client().get("/_dash-dependencies")  # sets Dash up now, not while threads answer (plotly/dash#3971)
