"""Which clients may listen: tokens, users whom Dash knows, pages of other sites, and rights that are taken back."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from werkzeug.security import generate_password_hash

from tests.docs.blocks import blocks
from tests.processes import completed, free_port, python, running
from tests.system.handoff import WAYS
from tests.system.hub.hub import KEY, Hub, running_hub
from tests.system.hub.talk import PATH, Talk
from tests.system.hub.tokens import connection_token, subscription_token
from tests.system.test_dash_today import APPS, served, wait_until_listening
from tests.wire.messages import handshake, request

RULES = [
    {"path": "/", "ask": "/auth", "copy_headers": ["X-User"]},
    {"path": "/login", "ask": None},
    {"path": "/public/connection", "ask": None},
]


@pytest.fixture(scope="module")
def dash() -> Iterator[str]:
    """A Dash app on Flask, under gunicorn, which knows its users by a cookie."""
    port = free_port()
    argv, ready = served("flask", "guarded", port)
    with running(*argv, ready=ready, cwd=APPS, env={"BACKEND": "flask"}):
        wait_until_listening(port)
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module", params=WAYS)
def guarded(request: pytest.FixtureRequest, dash: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub whose users are those of the Dash app."""
    folder = tmp_path_factory.mktemp("guarded")
    with running_hub(
        folder,
        way=request.param,
        dash=dash,
        gateway={"auth": RULES},
        user_header="X-User",
        namespaces={"members": {"subscribe": "users", "publish": "users"}},
    ) as hub:
        yield hub


def log_in(hub: Hub, user: str) -> str:
    body = user.encode()
    answer = hub.gateway.ask(request("POST /login", f"Content-Length: {len(body)}", body=body))
    assert answer.status == 303, answer
    return "Cookie: " + answer.get("set-cookie").partition(";")[0]


def status(hub: Hub, message: bytes) -> int | None:
    with hub.gateway.dial() as wire:
        wire.send(message)
        return wire.read_message().status


def user_of(hub: Hub, name: str, *fields: str) -> Talk:
    """Return the connection of a page of a user who has logged in."""
    return Talk.connected(hub.gateway, "", log_in(hub, name), *fields)


def test_the_cookie_of_the_dash_app_names_the_user(guarded: Hub) -> None:
    ada, eve = user_of(guarded, "ada"), user_of(guarded, "eve")
    assert ada.subscribe("user:#ada") is None
    assert eve.subscribe("user:#ada") == 103
    assert eve.subscribe("members:all") is None
    assert eve.subscribe("orders") == 103, "a user is no token"
    assert ada.subscribe("open:room") is None
    presence = ada.ask({"id": 3, "presence": {"channel": "open:room"}})["presence"]["presence"]
    assert [info["user"] for info in presence.values()] == ["ada"]
    guarded.publish("user:#ada", "for ada")
    assert ada.hear()["push"]["pub"]["data"] == "for ada"


@pytest.mark.parametrize("spelling", ["X-User: ada", "x-user: ada", "X_User: ada", "x.user: ada", "X-USER: ada"])
def test_a_client_cannot_write_the_name_of_a_user(guarded: Hub, spelling: str) -> None:
    assert status(guarded, handshake(PATH, spelling)) == 401, "without a cookie there is no socket"
    eve = user_of(guarded, "eve", spelling, "Connection: X-User")
    assert eve.subscribe("user:#ada") == 103 and eve.subscribe("user:#eve") is None
    unknown = Talk.connected(guarded.gateway, "", spelling, target=f"/public{PATH}")  # open without asking Dash
    assert unknown.subscribe("user:#ada") == 103 and unknown.subscribe("members:all") == 103
    assert unknown.subscribe("read:all") is None


def test_event_streams_are_for_the_same_users(guarded: Hub) -> None:
    stream = "GET /connection/uni_sse?raw=1&channel=user:%23ada"
    assert status(guarded, request(stream, "X-User: ada")) == 302, "to the login page"
    with guarded.gateway.dial() as wire:
        wire.send(request(stream, log_in(guarded, "ada"), "X-User: eve"))
        assert wire.read_head().startswith(b"HTTP/1.1 200 ")
        guarded.publish("user:#ada", "by event")
        assert b"by event" in wire.read_until(b"by event")
    with guarded.gateway.dial() as wire:
        wire.send(request(stream, log_in(guarded, "eve"), "Connection: close"))
        assert b"by event" not in wire.read_to_end()


def test_rights_that_are_taken_back_end_at_once_and_those_of_others_do_not(guarded: Hub) -> None:
    ada, eve = user_of(guarded, "ada"), user_of(guarded, "eve")
    for each in (ada, eve):
        assert each.subscribe("members:a") is None
    assert ada.subscribe("user:#ada") is None
    guarded.ask("unsubscribe", {"user": "ada", "channel": "members:a"})
    push = ada.hear()["push"]
    assert (push["channel"], push["unsubscribe"]["code"]) == ("members:a", 2000)
    guarded.publish("members:a", "for eve alone")
    assert eve.hear()["push"]["pub"]["data"] == "for eve alone"
    guarded.publish("user:#ada", "still there")
    assert ada.hear()["push"]["pub"]["data"] == "still there"
    guarded.ask("disconnect", {"user": "ada"})
    assert ada.end() == 3503
    guarded.publish("members:a", "not disturbed")
    assert eve.hear()["push"]["pub"]["data"] == "not disturbed"


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://example.com.evil.example", "x"])
def test_a_page_of_another_site_reads_no_event_stream(hub: Hub, origin: str) -> None:
    for target in ("/connection/uni_sse?channels=read:a", "/app/connection/%75ni_sse?channels=read:a"):
        for more in ((), ("Connection: close",), ("Accept: text/event-stream", "Cookie: a=b")):
            assert status(hub, request(f"GET {target}", f"Origin: {origin}", *more)) == 403
    with hub.gateway.dial() as wire:
        wire.send(request("GET /connection/uni_sse?channels=read:a", "Origin: http://example.com"))
        assert wire.read_head().startswith(b"HTTP/1.1 200 "), "its own site"


def test_a_page_that_was_rendered_for_one_user_is_of_no_use_to_another(hub: Hub) -> None:
    token = subscription_token("user:#ada", sub="ada")
    assert Talk.connected(hub.gateway).subscribe("user:#ada", token) is None
    assert Talk.connected(hub.gateway, connection_token("eve")).subscribe("user:#ada", token) == 103


@pytest.mark.parametrize("topic", ["line\nend", "\x1b[2Jred", "\u202eevil", "a" * 10_240, "\0"], ids=range(5))
def test_no_topic_and_no_name_writes_the_log(hub: Hub, topic: str) -> None:
    since = len(hub.service.output)
    talk = Talk.connected(hub.gateway, connection_token("ada"))
    for method in ("subscribe", "publish", "presence", "presence_stats", "history", "unsubscribe"):
        assert talk.ask({"id": 2, method: {"channel": topic, "data": 1}})["error"]["code"] in (103, 107), method
    hub.ask("publish", {"channel": topic, "data": 1})
    wire = hub.gateway.dial()
    wire.send(request(f"GET /connection/uni_sse?channels={quote(topic)}", "Connection: close"))
    wire.read_to_end()
    bad = Talk(hub.gateway)
    bad.say({"id": 1, "connect": {"token": connection_token(topic)}})
    assert bad.end() == 3500
    said = hub.service.output[since:]
    assert not [sign for sign in ("\x1b", "\u202e", "evil", "red", "end\n", "Traceback") if sign in said], said


INBOX = """
from dash import dcc
from flask import has_request_context
from ws_service.dash import Live

def layout():
    user = current_user.get_id() if has_request_context() else ""
    return html.Div([dcc.Store(id="inbox"), Live(f"user:#{user}", into="inbox", mode="list")])

app.layout = layout
"""


def test_the_login_of_the_documents_is_the_hubs_too(tmp_path: Path) -> None:
    """The script of docs/how-to/login.md with a topic for each user, under gunicorn, behind the gateway."""
    [login] = blocks("docs/how-to/login.md", "python")
    script, main, _ = login.partition("\n\nif __name__")
    assert main
    (tmp_path / "login_app.py").write_text(script + INBOX)
    users = json.dumps({"ada": generate_password_hash("secret", "pbkdf2:sha256:1")})
    port = free_port()
    env = {"SECRET_KEY": "s" * 32, "USERS": users, "DASH_WS_HUB_KEY": KEY}
    argv, ready = served("flask", "login_app", port)
    with running(*argv, ready=ready, cwd=tmp_path, env=env):
        wait_until_listening(port)
        dash = f"http://127.0.0.1:{port}"
        with running_hub(tmp_path, dash=dash, gateway={"auth": RULES[:2]}, user_header="X-User") as hub:
            form = b"user=ada&password=secret"
            fields = ("Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(form)}")
            logged_in = hub.gateway.ask(request("POST /login", *fields, body=form))
            assert logged_in.status == 302, logged_in.body
            cookie = "Cookie: " + logged_in.get("set-cookie")
            cookie = cookie.partition(";")[0]
            _, live = hub.gateway.ask(request("GET /_dash-layout", cookie)).json()["props"]["children"]
            assert live["props"]["topic"] == "user:#ada"
            for token in ("", live["props"]["token"]):  # each is enough
                page = Talk.connected(hub.gateway, "", cookie)
                assert page.subscribe("user:#ada", token) is None
            hub.publish("user:#ada", "your export is ready")
            assert page.hear()["push"]["pub"]["data"] == "your export is ready"
            assert status(hub, handshake(PATH)) == 401


def _status_of(folder: Path, *words: str) -> tuple[int, str]:
    done = completed("-m", "ws_service", *words, cwd=folder)
    return done.returncode, done.stdout + done.stderr


def test_the_service_and_a_shell_have_the_same_key_without_a_word(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "config.yaml").write_text(f"ws_service: {{listen: '127.0.0.1:{port}', handoff: off}}\n")
    code, first = _status_of(tmp_path, "token", "prices")
    assert code == 0, first
    with running(*python("-m", "ws_service"), ready="ws service ready", cwd=tmp_path):
        code, told = _status_of(tmp_path, "publish", "prices", "1")
        assert code == 0 and json.loads(told)["offset"] == 1, told
        assert (tmp_path / "run" / "hub.key").stat().st_mode & 0o777 == 0o600
        assert first.strip().count(".") == 2


def test_a_service_does_not_start_where_every_client_could_name_itself(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("gateway: {}\nws_service:\n  hub: {user_header: X-User}\n")
    for words in ((), ("check",)):
        code, told = _status_of(tmp_path, *words)
        assert code == 2 and "each client could write the name of another user" in told, told


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another user")
def test_a_key_file_of_another_user_keeps_the_service_from_starting_and_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("ws_service: {hub: {enabled: true}}\n")
    (tmp_path / "run").mkdir()
    key = tmp_path / "run" / "hub.key"
    key.write_text("k" * 64)
    key.chmod(0o600)
    os.chown(key, 12345, 12345)
    for words in ((), ("check",), ("token", "prices")):
        code, told = _status_of(tmp_path, *words)
        assert code == 2 and "belongs to user 12345" in told and "DASH_WS_HUB_KEY" in told, told
        assert "k" * 64 not in told and "Traceback" not in told
