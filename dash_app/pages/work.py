"""Two buttons whose callbacks only start a process: a job with progress, and a text that grows word by word."""

from dash import Input, callback, html

from dash_app.pages import card, page
from dash_app.publishers import answer, job, start
from ws_service.dash import Live


def job_layout() -> html.Div:
    return page(
        "A job with progress",
        "The callback only starts the job. The job publishes from a process of its own: open a second tab, or restart "
        "Dash meanwhile, and the bar goes on.",
        Live("job", into="bar", prop="value", path="percent"),
        Live("job", into="told", prop="children", path="text"),
        card(
            html.Button("Start the job", id="job"),
            html.Progress(id="bar", value="0", max="100", **{"aria-label": "Progress of the job"}),
            html.P("Not started yet.", id="told"),
        ),
        lines=[job, job_layout],
    )


def stream_layout() -> html.Div:
    return page(
        "A stream of words",
        "As the tokens of a language model come: each word is a message, and is added to the text of every open page.",
        Live("stream:answer", into="text", mode="append"),
        card(html.Button("Ask", id="answer"), html.P(id="text")),
        lines=[answer, stream_layout],
    )


for name in ("job", "answer"):
    callback(Input(name, "n_clicks"), prevent_initial_call=True)(lambda _clicks, name=name: start(name))
