"""Tokens of a language model, as they come. Each page has a topic of its own, and the callback publishes to it."""

from uuid import UUID, uuid4

from dash import Dash, Input, Output, State, callback, dcc, html
from model import stream

from ws_service import publish
from ws_service.dash import Live

app = Dash(__name__, title="Tokens of a model")
server = app.server


def layout():
    chat = str(uuid4())
    return html.Main(
        [
            html.H1("Tokens of a model"),
            dcc.Store(id="chat", data=chat),
            html.Label("Your question", htmlFor="question"),
            dcc.Textarea(id="question", value="What happens here?", rows=2),
            html.Button("Ask", id="ask"),
            # Models write Markdown. HTML in it stays text, unless dangerously_allow_html says otherwise.
            html.Div(dcc.Markdown(id="answer"), **{"aria-live": "polite"}),
            Live(f"chat:{chat}", into="answer", mode="append"),
        ]
    )


app.layout = layout


@callback(
    Input("ask", "n_clicks"),
    State("question", "value"),
    State("chat", "data"),
    running=[(Output("ask", "disabled"), True, False)],
    prevent_initial_call=True,
)
def answer(_clicks, question, chat):
    topic = f"chat:{UUID(chat)}"  # from the browser: a UUID and nothing else, so no topic but a chat's is made of it
    publish(topic, {"reset": True, "text": ""})
    try:
        for token in stream(question):
            publish(topic, token)
    except Exception:
        publish(topic, "\n\n*The model has failed.*")
        raise


server.test_client().get("/_dash-dependencies")  # sets Dash up now, not while threads answer (plotly/dash#3971)
