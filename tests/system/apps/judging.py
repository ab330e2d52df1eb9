"""A Dash below a prefix that allows another site to open its WebSocket: PREFIX, and HEARTBEAT in milliseconds."""

import os

import dash
from dash import html

app = dash.Dash(
    __name__,
    backend="fastapi",
    url_base_pathname=os.environ["PREFIX"],
    websocket_allowed_origins=["https://partner.example"],
    websocket_heartbeat_interval=int(os.environ["HEARTBEAT"]),
)
server = app.server
app.layout = html.Div("hello")
