"""A multi-page app below a prefix, on FastAPI with every callback over Dash's own WebSocket.

The environment chooses the backend: BACKEND=flask or BACKEND=fastapi.
"""

import os

import dash
from dash import Input, Output, callback, dcc, html

BACKEND = os.environ["BACKEND"]
PREFIX = "/team/app/"

app = dash.Dash(
    __name__,
    backend=BACKEND,
    websocket_callbacks=BACKEND == "fastapi",
    use_pages=True,
    pages_folder="",
    requests_pathname_prefix=PREFIX,
    routes_pathname_prefix=PREFIX,
)
server = app.server


def report(name=None, tone="plain", **_):
    return html.Div([html.H2(f"Report on {name}, {tone}"), html.Button("Count", id="count"), html.P(id="total")])


dash.register_page("home", path="/", title="Home", layout=html.H2("Home"))
dash.register_page("report", path_template="/report/<name>", title="Report", layout=report)


@callback(Output("total", "children"), Input("count", "n_clicks"))
def count(clicks):
    return f"counted {clicks or 0}"


app.layout = html.Main(
    [
        dcc.Link("home", href=dash.get_relative_path("/"), id="to-home"),
        dcc.Link("sales", href=dash.get_relative_path("/report/sales?tone=cheerful"), id="to-report"),
        dash.page_container,
    ]
)
