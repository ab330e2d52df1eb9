"""Which pages are open; and what a page gets that was cut off, or whose programs were restarted."""

from dash import ALL, ClientsideFunction, Input, Output, callback, clientside_callback, ctx, html

from dash_app import programs
from dash_app.pages import card, page, tiles
from dash_app.publishers import tick
from ws_service.dash import Live

BUTTONS = {"gateway": "Restart the gateway", "dash": "Restart Dash", "service": "Restart the service"}


def presence() -> html.Div:
    return page(
        "Presence",
        "Each page of this demo that is open now, in any browser. Open one more, or close one: the list follows.",
        Live("tour:here", id="present", presence=True),
        card(html.P("…", id="count", className="big"), html.Ul(id="clients")),
        lines=[presence],
    )


def recovery() -> html.Div:
    restarts = [html.Button(text, id={"restart": name}) for name, text in BUTTONS.items()]
    return page(
        "Reconnect and recovery",
        "Ten numbered messages a second. Cut the connection, or restart a program, and see what this page has missed. "
        "Only a restart of the service can lose some: here it keeps history in memory, and not in a Valkey.",
        Live("ticks:clock", id="ticks"),  # dashHub.on("ticks:clock", ...) in assets/tour.js listens
        tiles(("got", "Received"), ("missing", "Missing"), ("twice", "Twice"), ("pause", "Longest pause")),
        card(
            html.Div([html.Button("Cut my sockets", id="cut"), *restarts], className="buttons"),
            html.P(id="said", role="status"),
            html.Ol(id="events", **{"aria-label": "What has happened"}),
        ),
        lines=[tick, recovery],
    )


@callback(Output("said", "children"), Input({"restart": ALL}, "n_clicks"), prevent_initial_call=True)
def restart(_clicks: list[int]) -> str:
    return programs.restart(ctx.triggered_id["restart"], ctx.headers)


clientside_callback(ClientsideFunction("tour", "follow"), Input("ticks", "state"))
clientside_callback(ClientsideFunction("tour", "cut"), Input("cut", "n_clicks"))
shown = [Output("count", "children"), Output("clients", "children")]
clientside_callback(ClientsideFunction("tour", "present"), shown, Input("present", "present"))
