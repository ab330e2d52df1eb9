"""The login: /login, /logout, and /auth, which the gateway asks before it lets a request or a WebSocket pass."""

import hmac
import json
import os
import urllib.request
from pathlib import Path

import users
from flask import abort, redirect, request
from flask_login import LoginManager, UserMixin, current_user, login_user, logout_user

PAGE = """<!doctype html>
<html lang="en"><meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">
<title>Log in</title><link rel="icon" href="data:,">
<style>body {{ font: 1rem/2 system-ui, sans-serif; margin: 2rem }}</style>
<main><h1>Log in</h1><form method="post">
<p><label>Name<br><input name="name" autocomplete="username" required></label></p>
<p><label>Password<br><input name="password" type="password" autocomplete="current-password" required></label></p>
<p><button>Log in</button> <span role="alert">{message}</span></p></form></main></html>"""


class User(UserMixin):
    """A user; the id is the name."""

    def __init__(self, name):
        self.id = name


def add_login(server):
    server.secret_key = os.environ["SECRET_KEY"]
    server.config["SESSION_COOKIE_SAMESITE"] = "Lax"  # and SESSION_COOKIE_SECURE = True, once the site has HTTPS
    LoginManager(server).user_loader(lambda name: User(name) if name in users.all_users() else None)
    server.add_url_rule("/auth", view_func=auth)
    server.add_url_rule("/login", view_func=login, methods=["GET", "POST"])
    server.add_url_rule("/logout", view_func=logout, methods=["POST"])


def auth():
    if current_user.is_authenticated:
        return "", 204, {"X-User": current_user.id}
    if "text/html" in request.headers.get("Accept", ""):  # a page; scripts and WebSockets cannot follow a redirect
        return redirect("/login")
    return "", 401


def login():
    if request.method == "GET":
        return PAGE.format(message="")
    if request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
        abort(403)  # a form on a page of another site, with another user's name and password
    name = request.form["name"]
    if not users.has_password(name, request.form["password"]):
        return PAGE.format(message="The name or the password is wrong."), 403
    login_user(User(name))
    return redirect("/")


def logout():
    user = current_user.get_id()
    logout_user()
    try:
        end_connections(user)
    except OSError:
        pass  # the service is not there, and with it no connection
    return redirect("/login")


def end_connections(user):
    """End the user's open WebSockets, in all pages: the gateway has asked about them when they were opened."""
    key = hmac.digest(Path("run/hub.key").read_text().strip().encode(), b"api", "sha256").hex()
    url = f"http://127.0.0.1:{os.environ.get('WS_PORT', '8765')}/api/disconnect"
    body = json.dumps({"user": user}).encode()
    urllib.request.urlopen(urllib.request.Request(url, body, {"X-API-Key": key}), timeout=2).close()
