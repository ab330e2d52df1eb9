"""A notice on every open page. notify.py sends it; pages that are opened later have it too."""

from dash import Dash, dcc, html

from ws_service.dash import Live

app = Dash(__name__, title="Notify everybody")
server = app.server

app.layout = html.Main(
    [
        html.P(id="notice", role="status"),
        Live("notice", into="notice", prop="children", path="text"),
        html.H1("Your app"),
        html.Label("A field whose text is not touched", htmlFor="work"),
        dcc.Input(id="work"),
    ]
)

server.test_client().get("/_dash-dependencies")  # sets Dash up now, not while threads answer (plotly/dash#3971)
