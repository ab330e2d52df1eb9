"""Live prices in a graph. Dash on Flask, as you know it; feed.py, another process, publishes."""

from dash import Dash, dcc, html

from ws_service.dash import Live

SYMBOLS = ["AAPL", "MSFT"]

app = Dash(__name__, title="Live prices")
server = app.server

lines = [{"name": symbol, "x": [], "y": []} for symbol in SYMBOLS]
clear = {"paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)"}

app.layout = html.Main(
    [
        html.H1("Live prices"),
        html.Div([html.P([symbol, " ", html.B("...", id=symbol)]) for symbol in SYMBOLS]),
        dcc.Graph(id="graph", figure={"data": lines, "layout": clear}),
        # One value of each message into one component. A page that is opened later begins with the newest message.
        *[Live("prices", into=symbol, prop="children", path=symbol) for symbol in SYMBOLS],
        # New points alone, not the figure again. A page that is opened later begins with those that are kept: 100.
        Live("points", into="graph", mode="extendData", max_points=500),
    ]
)
