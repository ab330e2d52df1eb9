"""A small app for ``check --live``. The environment says how it is made: BACKEND, and KEYWORDS of dash.Dash as JSON."""

import json
import os

from dash import Dash, Input, Output, dcc, html

backend = os.environ["BACKEND"]
chosen = {} if backend == "flask" else {"backend": backend}
app = Dash(__name__, **chosen, **json.loads(os.environ.get("KEYWORDS", "{}")))
server = app.server
app.layout = html.Div([dcc.Input(id="name"), html.P(id="greeting")])


@app.callback(Output("greeting", "children"), Input("name", "value"))
def greet(name):
    return f"Hello, {name or 'stranger'}"
