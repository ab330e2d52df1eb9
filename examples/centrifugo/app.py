"""The same page as with the service of this project: nothing in it knows that Centrifugo has taken its place."""

from dash import Dash, html

from ws_service.dash import Live

app = Dash(__name__, title="Centrifugo")
app.layout = html.Main(
    [
        html.H1("Centrifugo in the place of the service"),
        html.P(["The newest message: ", html.Output(id="newest")]),
        html.Pre(id="log"),
        Live("log", into="newest", prop="children"),
        Live("log", into="log", mode="append", max_chars=1000),
    ]
)
server = app.server
server.test_client().get("/_dash-dependencies")  # sets Dash up now, not while threads answer (plotly/dash#3971)
