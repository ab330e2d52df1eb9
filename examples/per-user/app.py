"""Messages for one user. Which user it is says the login, and nothing that the browser sends."""

from threading import Timer

from dash import Dash, Input, callback, html
from flask import has_request_context
from flask_login import current_user
from login import add_login

from ws_service import publish
from ws_service.dash import Live

app = Dash(__name__, title="For you alone")
server = app.server
add_login(server)


def layout():
    user = current_user.get_id() if has_request_context() else None  # Dash also calls it at its start
    return html.Main(
        [
            html.H1(f"Hello, {user}"),
            html.Button("Export my data", id="export"),
            html.Form(html.Button("Log out"), action="/logout", method="POST"),
            html.H2("Your messages"),
            html.Pre(id="inbox", role="log"),
            Live(f"user:#{user or ''}", into="inbox", mode="append"),  # readable by this user alone
        ]
    )


app.layout = layout


@callback(Input("export", "n_clicks"), prevent_initial_call=True)
def export(_clicks):
    # A timer stands in for a job of yours: give it the user, and let it publish when it is ready.
    Timer(1, publish, (f"user:#{current_user.id}", "Your export is ready.\n")).start()


server.test_client().get("/_dash-dependencies")  # sets Dash up now, not while threads answer (plotly/dash#3971)
