"""A small Dash app with one ordinary callback, as gunicorn serves it (``benchmarks.dash_page:server``)."""

from dash import Dash, Input, Output, dcc, html

app = Dash(__name__)
app.layout = html.Div([dcc.Input(id="name"), html.P(id="greeting")])
server = app.server


@app.callback(Output("greeting", "children"), Input("name", "value"))
def greet(name: str | None) -> str:
    """Answer one change of the input."""
    return f"Hello, {name or 'stranger'}"
