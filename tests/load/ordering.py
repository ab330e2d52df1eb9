"""A real Dash app for ``make load``: each callback writes what it was asked for into a book, then answers with it.

``uvicorn ordering:server`` in a folder; the book is ``book`` there, and outlives a SIGKILL.
"""

import os

from dash import Dash, Input, Output, dcc, html

BOOK = os.open("book", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

app = Dash(__name__, backend="fastapi", title="Orders")
server = app.server

app.layout = html.Main([dcc.Input(id="order"), html.P(id="taken"), html.P(id="also")])


@app.callback(Output("taken", "children"), Input("order", "value"), prevent_initial_call=True)
def take(order):
    os.write(BOOK, f"{order}\n".encode())  # before the answer: what is acknowledged is done
    return f"taken {order}"


@app.callback(Output("also", "children"), Input("order", "value"), prevent_initial_call=True, websocket=True)
def also(order):
    return order
