"""The demo: a multi-page Dash app on Flask, or with BACKEND=fastapi on FastAPI; the pages are the same."""

import os
from contextlib import suppress

import dash
from dash import ClientsideFunction, Input, Output, dcc, html

from dash_app.pages import connections, table, telemetry, work
from ws_service import PublishError, publish
from ws_service.dash import Live

PAGES = {
    "Telemetry": ("/", telemetry.layout),
    "Job": ("/job", work.job_layout),
    "Stream": ("/stream", work.stream_layout),
    "Table": ("/table", table.layout),
    "Presence": ("/presence", connections.presence),
    "Recovery": ("/recovery", connections.recovery),
}
FIGURES = {"latency": "publish to page", "deliveries": "deliveries", "sockets": "sockets", "pages": "open pages"}

BACKEND = os.environ.get("BACKEND") or "flask"

app = dash.Dash(__name__, backend=BACKEND, use_pages=True, pages_folder="", title="dash-ws-proxy", update_title="")
app.index_string = app.index_string.replace("<html>", '<html lang="en">')

for name, (path, layout) in PAGES.items():
    dash.register_page(name, path=path, title=f"{name} · dash-ws-proxy", layout=layout)

links = html.Nav([dcc.Link(name, href=path) for name, (path, _) in PAGES.items()], **{"aria-label": "Pages"})
figures = html.Dl([html.Div([html.Dt(text), html.Dd("…", id=key)]) for key, text in FIGURES.items()])
lives = [Live("figures", id="figures"), Live("ticks:dash"), Live("tour:here", id="here", presence=True)]
head = html.Header([html.P("dash-ws-proxy", className="brand"), links, figures])
app.layout = html.Div([head, *lives, html.Main(dash.page_container)])

app.clientside_callback(ClientsideFunction("tour", "start"), Input("figures", "state"))
app.clientside_callback(ClientsideFunction("tour", "here"), Output("pages", "children"), Input("here", "present"))
app.clientside_callback(ClientsideFunction("tour", "visit"), Input("_pages_location", "pathname"))


def introduce() -> None:
    """Tell every page that Dash is another process now. Where there is no hub yet, there is no page either."""
    with suppress(PublishError):
        publish("ticks:dash", {"pid": os.getpid()}, raise_errors=True)
