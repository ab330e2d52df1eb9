"""A page that shows how Dash sees its visitor through two proxies, and a live clock."""

from dash import Dash, Input, Output, callback, html
from flask import request
from werkzeug.middleware.proxy_fix import ProxyFix

from ws_service.dash import Live

app = Dash(__name__, title="After Caddy")
app.layout = html.Main(
    [
        html.H1("After Caddy and the gateway"),
        html.P(["Your address, as Dash sees it: ", html.Output(id="visitor")]),
        html.P(["The time, published once a second: ", html.Output(id="clock")]),
        Live("clock", into="clock", prop="children"),
    ]
)
server = app.server
server.wsgi_app = ProxyFix(server.wsgi_app, x_for=2, x_proto=1, x_host=1, x_port=1)  # 2: Caddy and the gateway


@callback(Output("visitor", "children"), Input("visitor", "id"))
def visitor(_: str) -> str:
    return f"{request.remote_addr}, {request.scheme}://{request.host}"


server.test_client().get("/_dash-dependencies")  # sets Dash up now, not while threads answer (plotly/dash#3971)
