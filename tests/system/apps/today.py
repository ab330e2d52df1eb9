"""What people build with Dash today: a callback, assets, an upload, a download, and WebSocket callbacks.

The environment chooses the backend: BACKEND=flask or BACKEND=fastapi.
"""

import base64
import hashlib
import os

import dash
from dash import Input, Output, State, dcc, html, set_props

BACKEND = os.environ["BACKEND"]
DOWNLOAD = bytes(range(256)) * 16 * 1024  # 4 MiB

app = dash.Dash(__name__, backend=BACKEND, title=f"Today on {BACKEND}")
server = app.server

app.layout = html.Main(
    [
        html.H1(f"Today on {BACKEND}"),
        dcc.Input(id="name", value="", debounce=False),
        html.P(id="greeting"),
        dcc.Upload("Drop a file", id="upload"),
        html.P(id="digest"),
        html.Button("Download", id="fetch"),
        dcc.Download(id="download"),
        html.Button("Over the socket", id="ask"),
        html.P(id="progress"),
        html.P(id="answer"),
    ]
)


@app.callback(Output("greeting", "children"), Input("name", "value"))
def greet(name):
    return f"Hello, {name or 'stranger'}"


@app.callback(
    Output("digest", "children"),
    Input("upload", "contents"),
    State("upload", "filename"),
    prevent_initial_call=True,
)
def digest(contents, filename):
    data = base64.b64decode(contents.partition(",")[2])
    return f"{filename}: {len(data)} bytes, {hashlib.sha256(data).hexdigest()}"


@app.callback(Output("download", "data"), Input("fetch", "n_clicks"), prevent_initial_call=True)
def send(_clicks):
    return dcc.send_bytes(DOWNLOAD, "squares.bin")


if BACKEND == "fastapi":

    @app.callback(
        Output("answer", "children"),
        Input("ask", "n_clicks"),
        State("name", "value"),
        prevent_initial_call=True,
        websocket=True,
    )
    def answer(clicks, name):
        set_props("progress", {"children": f"working on {clicks}"})
        return f"answer {clicks} for {name}"
