"""Pages of Dash below a prefix that begin a session, and an auth path. FAULTY: no two processes of it are the same."""

import os
import uuid

import dash
from dash import Dash, Input, Output, dcc, html
from flask import request, session

FAULTY = False

app = Dash(__name__, use_pages=True, pages_folder="", url_base_pathname="/app/")
server = app.server
server.secret_key = os.urandom(16) if FAULTY else "a key for tests"
name = f"name-{uuid.uuid4()}" if FAULTY else "name"
dash.register_page("home", path="/", layout=html.H2("Home"))
app.layout = html.Main([dcc.Input(id=name), html.P(id="greeting"), dash.page_container])
if FAULTY:
    app.enable_dev_tools(debug=True, dev_tools_hot_reload=True)


@app.callback(Output("greeting", "children"), Input(name, "value"))
def greet(name):
    return f"Hello, {name or 'stranger'}"


@server.before_request
def visit():
    if request.path == "/app/" and "visitor" not in session:
        session["visitor"] = uuid.uuid4().hex


@server.get("/auth")
def auth():
    return ("", 204) if request.cookies.get("user") == "ada" else ("", 401)
