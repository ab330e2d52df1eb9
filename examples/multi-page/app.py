"""Dash Pages with live data: the page changes, the connection stays."""

import dash
from dash import Dash, dcc, html

from ws_service.dash import Live

app = Dash(__name__, use_pages=True, title="Plant")
app.layout = html.Main(
    [
        html.Nav([dcc.Link(page["name"], href=page["relative_path"]) for page in dash.page_registry.values()]),
        # Outside of the container: it stays over every navigation.
        html.P(["Alarms: ", html.Output("0", id="alarms")]),
        Live("alarms", into="alarms", prop="children", path="count"),
        dash.page_container,
    ]
)
server = app.server
server.test_client().get("/_dash-dependencies")  # sets Dash up now, not while threads answer (plotly/dash#3971)
