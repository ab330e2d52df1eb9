"""The first page: the newest value of a topic."""

import dash
from dash import html

from ws_service.dash import Live

dash.register_page(__name__, path="/", name="Overview")


def layout() -> list:
    return [
        html.H1("Overview"),
        html.P(["Power: ", html.Output(id="power"), " kW"]),
        Live("power", into="power", prop="children", path="kw"),
    ]
