"""Progress of a Celery job. The page's address names the job, so it is there after a reload, and in other pages."""

from uuid import UUID

from dash import Dash, Input, Output, callback, dcc, html
from tasks import PARTS, export

from ws_service.dash import Live

app = Dash(__name__, title="Progress of a job")
server = app.server

app.layout = html.Main(
    [
        dcc.Location(id="url", refresh=False),
        html.H1("Progress of a job"),
        html.Button("Start an export", id="start"),
        html.Div(id="job"),
    ]
)


@callback(Output("url", "search"), Input("start", "n_clicks"), prevent_initial_call=True)
def start(_clicks):
    return f"?job={export.delay().id}"


@callback(Output("job", "children"), Input("url", "search"))
def show(search):
    try:
        job = UUID((search or "").removeprefix("?job="))  # what the visitor wrote; no topic but a job's is made of it
    except ValueError:
        return html.P("No job yet.")
    topic = f"job:{job}"
    return [
        html.Progress(id="bar", max=PARTS, value=0, **{"aria-label": "Progress of the export"}),
        html.P("Waiting for a worker", id="text", role="status"),
        Live(topic, into="bar", prop="value", path="done"),
        Live(topic, into="text", prop="children", path="text"),
    ]


server.test_client().get("/_dash-dependencies")  # sets Dash up now, not while threads answer (plotly/dash#3971)
