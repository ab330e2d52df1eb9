"""A Dash app with a background callback: diskcache runs it in a process of its own."""

from __future__ import annotations

import os
import sys

import dash
import diskcache
from dash import DiskcacheManager, Input, Output, html

from ws_service import publish

app = dash.Dash(__name__, background_callback_manager=DiskcacheManager(diskcache.Cache(sys.argv[1])))
app.layout = html.Div([html.Button(id="go"), html.Div(id="out")])


@app.callback(Output("out", "children"), Input("go", "n_clicks"), background=True)
def job(clicks: int | None) -> str:
    for number in range(3):
        publish("job:1", {"pid": os.getpid(), "pct": number * 50})
    return "done"


if __name__ == "__main__":
    publish("started", os.getpid())
    print("ready", flush=True)
    app.run(port=int(sys.argv[2]), debug=False)
