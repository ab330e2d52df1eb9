"""Live prices in a graph. Dash on Flask, as you know it; feed.py, another process, publishes."""

from dash import Dash, dcc, html

from ws_service.dash import Live

SYMBOLS = ["AAPL", "GOOG"]

app = Dash(__name__, title="Live prices")
server = app.server

lines = [{"name": symbol, "x": [], "y": [], "mode": "lines"} for symbol in SYMBOLS]
grid = {"gridcolor": "rgba(128, 128, 128, 0.3)"}
look = {
    "paper_bgcolor": "rgba(0, 0, 0, 0)",  # light or dark, as the page
    "plot_bgcolor": "rgba(0, 0, 0, 0)",
    "colorway": ["#3b82f6", "#d97706"],
    "margin": {"l": 50, "r": 10, "t": 10, "b": 50},
    "legend": {"orientation": "h", "y": 1.1},
    "xaxis": {**grid, "nticks": 4},
    "yaxis": grid,
}

app.layout = html.Main(
    [
        html.H1("Live prices"),
        html.Div([html.P([symbol, " ", html.B("...", id=symbol)]) for symbol in SYMBOLS]),
        dcc.Graph(id="graph", figure={"data": lines, "layout": look}),
        # One value of each message into one component. A page that is opened later begins with the newest message.
        *[Live("prices", into=symbol, prop="children", path=symbol) for symbol in SYMBOLS],
        # New points alone, not the figure again. A page that is opened later begins with those that are kept: 100.
        Live("points", into="graph", mode="extendData", max_points=500),
    ]
)

server.test_client().get("/_dash-dependencies")  # sets Dash up now, not while threads answer (plotly/dash#3971)
