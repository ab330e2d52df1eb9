"""A Dash app that knows who is there, and says so to the gateway: ``/auth``, ``/login``, and a secret under ``/admin``.

The environment chooses the backend: BACKEND=flask or BACKEND=fastapi. Each request that it gets is a line of JSON on
standard output.
"""

import json
import os
from urllib.parse import quote

import dash
from dash import Input, Output, dcc, html
from itsdangerous import BadSignature, Signer

BACKEND = os.environ["BACKEND"]
SECRET = "the secret of the administrators"

signer = Signer("a key for tests")
app = dash.Dash(__name__, backend=BACKEND)
server = app.server
app.layout = html.Main([dcc.Input(id="name", value=""), html.P(id="greeting")])


@app.callback(Output("greeting", "children"), Input("name", "value"))
def greet(_name):
    fields = {name.lower(): value for name, value in dict(dash.ctx.headers).items()}
    return f"Hello, {fields.get('x-user', 'stranger')}"


def who(cookies):
    try:
        return signer.unsign(cookies.get("session", "")).decode()
    except BadSignature:
        return None


def verdict(cookies, fields):
    """Return the status and the fields of the answer about whoever has these cookies."""
    user = who(cookies)
    if user:
        return 204, {"X-User": user}
    if fields.get("x-forwarded-upgrade"):
        return 401, {"WWW-Authenticate": "Cookie"}
    return 302, {"Location": "/login?next=" + quote(fields["x-forwarded-uri"], safe="")}


def cookie(user):
    return f"session={signer.sign(user).decode()}; Path=/; HttpOnly; SameSite=Lax"


def tell(method, path, fields):
    print("seen " + json.dumps({"method": method, "path": path, "fields": fields}), flush=True)


if BACKEND == "flask":
    from flask import request

    @server.before_request
    def record():
        tell(request.method, request.path, list(request.headers.items()))

    @server.get("/auth")
    def auth():
        status, fields = verdict(request.cookies, {name.lower(): value for name, value in request.headers.items()})
        return "", status, fields

    @server.get("/login")
    def login_page():
        return "Who are you?"

    @server.post("/login")
    def login():
        return "", 303, {"Location": "/", "Set-Cookie": cookie(request.get_data(as_text=True))}

    @server.get("/admin")
    @server.get("/admin/<path:rest>")
    def admin(rest=""):
        return SECRET

else:
    from fastapi import Request, Response

    class Recorder:
        def __init__(self, app):
            self.app = app

        async def __call__(self, scope, receive, send):
            if scope["type"] == "http":
                fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
                tell(scope["method"], scope["path"], fields)
            await self.app(scope, receive, send)

    server.add_middleware(Recorder)

    @server.get("/auth")
    async def auth(request: Request):
        status, fields = verdict(request.cookies, request.headers)
        return Response(status_code=status, headers=fields)

    @server.get("/login")
    async def login_page():
        return Response("Who are you?")

    @server.post("/login")
    async def login(request: Request):
        user = (await request.body()).decode()
        return Response(status_code=303, headers={"Location": "/", "Set-Cookie": cookie(user)})

    @server.get("/admin")
    @server.get("/admin/{rest:path}")
    async def admin(rest: str = ""):
        return Response(SECRET)
