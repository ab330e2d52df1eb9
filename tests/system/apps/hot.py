"""An app under development: debug=True, so that the page follows what changes on disk.

BACKEND=flask or BACKEND=fastapi; PORT is Dash's own variable.
"""

import os

import dash
from dash import Input, Output, dcc, html

app = dash.Dash(__name__, backend=os.environ["BACKEND"])
app.layout = html.Main([html.H1("first"), dcc.Input(id="in", value="1"), html.P(id="out")])


@app.callback(Output("out", "children"), Input("in", "value"))
def echo(value):
    return f"echo {value}"


if __name__ == "__main__":
    # The intervals are seconds: quicker than Dash's defaults, for a test that waits for them.
    app.run(
        debug=True,
        port=os.environ["PORT"],
        dev_tools_hot_reload_interval=0.2,
        dev_tools_hot_reload_watch_interval=0.1,
        dev_tools_disable_version_check=True,  # the page would ask a server of Plotly's
    )
