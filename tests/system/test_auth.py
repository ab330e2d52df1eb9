"""Forward authentication with a real Dash, on Flask and on FastAPI: pages, callbacks and sockets, and every way around.

The app is ``apps/guarded.py``; the sockets are a service's, handed over and through a tunnel.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from playwright.sync_api import expect
from werkzeug.security import check_password_hash, generate_password_hash

from tests.docs.blocks import blocks
from tests.processes import Process, free_port, python, running
from tests.proxy.access.test_auth_rules import ADMIN_IN_DISGUISE
from tests.system.browser import Tab
from tests.system.gateway import Gateway, Origin, running_gateway, serving
from tests.system.handoff import Service, hear, running_service
from tests.system.test_dash_today import APPS, BACKENDS, served, wait_until_listening
from tests.wire.connection import Wire
from tests.wire.messages import Message, handshake, request

ENDPOINTS = """
import re

from fastapi import FastAPI, WebSocket

app = FastAPI()


@app.websocket("/live")
async def live(websocket: WebSocket):
    print("a socket", flush=True)
    await websocket.accept()
    fields = [field for field in websocket.headers.items() if re.fullmatch("x.user", field[0])]
    await websocket.send_json({"fields": fields, "by": websocket.headers.get("x-forwarded-for")})
    await websocket.close()
"""

RULES = [
    {"path": "/", "ask": "/auth", "copy_headers": ["X-User"]},
    {"path": "/login", "ask": None},
]
SECRET = b"the secret of the administrators"
ROOT_FIELDS = ("X-User: root", "x_user: root", "X.USER: root")
CALLBACK = json.dumps(
    {
        "output": "greeting.children",
        "outputs": {"id": "greeting", "property": "children"},
        "inputs": [{"id": "name", "property": "value", "value": ""}],
        "changedPropIds": ["name.value"],
    }
).encode()


class Dash:
    """The app as a process."""

    def __init__(self, process: Process, port: int) -> None:
        self.process, self.port = process, port
        self.url = f"http://127.0.0.1:{port}"
        self._marks = 0

    def now(self) -> int:
        """Return where the output stands, with everything in it that has been answered."""
        self._marks += 1
        straight(self, request(f"GET /mark-{self._marks}"))
        self.process.wait_for(f'"/mark-{self._marks}"')
        return len(self.process.output)

    def seen(self, since: int) -> list[str]:
        """Return the paths of the requests that it got since then."""
        until = self.now()
        lines = self.process.output[since:until].splitlines()
        paths = [json.loads(line[5:])["path"] for line in lines if line.startswith("seen ")]
        return [path for path in paths if not path.startswith("/mark-")]


def straight(dash: Dash, message: bytes) -> bytes:
    """Return what Dash itself answers."""
    with Wire.to(dash.port) as wire:
        wire.send(message)
        return wire.read_message().body


@pytest.fixture(scope="module", params=BACKENDS)
def dash(request: pytest.FixtureRequest) -> Iterator[Dash]:
    port = free_port()
    argv, ready = served(request.param, "guarded", port)
    with running(*argv, ready=ready, cwd=APPS, env={"BACKEND": request.param}) as process:
        wait_until_listening(port)
        yield Dash(process, port)
        assert "Traceback" not in process.output, process.output


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("service"), app=ENDPOINTS) as service:
        yield service


@pytest.fixture(scope="module")
def gateways(dash: Dash, service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Gateway]]:
    """Several in front of the same two, which take longest to start."""
    kinds: dict[str, dict[str, Any]] = {
        "handing over": {"auth": RULES, "handoff": str(service.socket_file)},
        "tunnelling": {"auth": RULES},
        "guarding the secret alone": {"auth": [{"path": "/admin", "ask": "/auth"}]},
        "remembering": {"auth": [{**RULES[0], "cache": "1h"}, RULES[1], {"path": "/typo", "ask": "/oauth"}]},
    }
    with ExitStack() as stack:
        yield {
            kind: stack.enter_context(
                running_gateway(tmp_path_factory.mktemp("gateway"), dash=dash.url, ws=service.url, **settings)
            )
            for kind, settings in kinds.items()
        }


@pytest.fixture(params=["handing over", "tunnelling"])
def gateway(request: pytest.FixtureRequest, gateways: dict[str, Gateway]) -> Gateway:
    return gateways[request.param]


def log_in(gateway: Gateway, user: bytes = b"ada") -> str:
    """Return the Cookie field of somebody who is logged in; the login itself passes the gateway unasked."""
    answer = gateway.ask(request("POST /login", f"Content-Length: {len(user)}", body=user))
    assert answer.status == 303, answer
    return "Cookie: " + answer.get("set-cookie").partition(";")[0]


def call_back(gateway: Gateway, *fields: str) -> Message:
    fields = ("Content-Type: application/json", f"Content-Length: {len(CALLBACK)}", *fields)
    return gateway.ask(request("POST /_dash-update-component", *fields, body=CALLBACK))


@pytest.mark.parametrize(
    "path",
    ["/", "/any/page?x=1", "/_dash-layout", "/_dash-dependencies", "/_reload-hash", "/assets/a.css", "/auth", "/admin"],
)
def test_without_a_login_a_page_redirects_to_the_login_page(gateway: Gateway, path: str) -> None:
    answer = gateway.ask(request(f"GET {path}"))
    assert answer.status == 302
    assert answer.get("location") == "/login?next=" + path.replace("/", "%2F").replace("?", "%3F").replace("=", "%3D")


def test_without_a_login_a_callback_is_not_computed(dash: Dash, gateway: Gateway) -> None:
    since = dash.now()
    assert call_back(gateway).status == 302
    assert dash.seen(since) == ["/auth"]


@pytest.mark.parametrize("target", ["/live", "/_dash-ws-callback", "/login/../live"])
def test_without_a_login_there_is_no_websocket(service: Service, gateway: Gateway, target: str) -> None:
    sockets = service.process.output.count("a socket")
    client = gateway.dial()
    client.send(handshake(target))
    answer = client.read_message()
    assert (answer.status, answer.get("www-authenticate")) == (401, "Cookie")
    client.send(request("GET /login"))  # the refusal was an ordinary answer: the connection goes on
    assert client.read_message().body == b"Who are you?"
    assert service.process.output.count("a socket") == sockets


def test_with_a_login_page_and_callbacks_work_and_know_the_name(gateway: Gateway) -> None:
    cookie = log_in(gateway)
    page = gateway.ask(request("GET /", cookie))
    assert page.status == 200 and b"_dash-config" in page.body
    assert call_back(gateway, cookie).json()["response"]["greeting"]["children"] == "Hello, ada"
    assert gateway.ask(request("GET /admin", cookie)).body == SECRET


def test_with_a_login_a_websocket_knows_the_name(gateway: Gateway) -> None:
    client = gateway.dial()
    client.send(handshake("/live", log_in(gateway), *ROOT_FIELDS))
    assert client.read_head().startswith(b"HTTP/1.1 101 ")
    assert json.loads(hear(client)) == {"fields": [["x-user", "ada"]], "by": "127.0.0.1"}


def test_a_name_that_a_client_gives_itself_never_arrives(dash: Dash, gateway: Gateway) -> None:
    since = dash.now()
    cookie = log_in(gateway)
    client = gateway.dial()  # on one connection, so that some could go the plain way
    for path in ("/login", "/login", "/admin", "/login"):
        for field in ROOT_FIELDS:
            client.send(request(f"GET {path}", cookie, field))
            client.read_message()
    assert call_back(gateway, cookie, *ROOT_FIELDS).json()["response"]["greeting"]["children"] == "Hello, ada"
    assert gateway.ask(request("GET /auth", *ROOT_FIELDS)).status == 302
    assert len(dash.seen(since)) > 16
    assert "root" not in dash.process.output[since:]


def test_a_forged_session_is_nobodys(gateway: Gateway) -> None:
    cookie = log_in(gateway)
    assert gateway.ask(request("GET /", cookie.replace("ada", "eve"))).status == 302


# -- ways around

TRICKS = (
    ("GET /login", "X-Original-URL: /admin"),
    ("GET /login", "X-Rewrite-URL: /admin"),
    ("GET /login", "X-Forwarded-Uri: /admin", "X-Forwarded-Prefix: /admin"),
    ("GET /login", "PATH_INFO: /admin"),
    ("GET /login/admin", "SCRIPT_NAME: /login"),
    ("GET /login/admin", "X_FORWARDED_PREFIX: /login"),
    ("GET /login/admin", "Connection: SCRIPT_NAME", "SCRIPT_NAME: /login"),
)


@pytest.fixture(params=["tunnelling", "guarding the secret alone"])
def guarded(request: pytest.FixtureRequest, gateways: dict[str, Gateway]) -> Gateway:
    return gateways[request.param]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS"])
def test_no_spelling_of_the_path_bypasses_the_rule(dash: Dash, guarded: Gateway, method: str) -> None:
    since = dash.now()
    for target in ADMIN_IN_DISGUISE:
        if target == "*" and method != "OPTIONS":
            continue
        for prefix in ("", "/login/..", "/login%2f%2e%2e", "http://example.com"):
            if prefix and target == "*":
                continue
            message = request(f"{method} {prefix}{target}", *(("Content-Length: 0",) if method == "POST" else ()))
            answer = guarded.ask(message, has_body=method != "HEAD")
            assert SECRET not in answer.body, message
            assert answer.status == (400 if "\\" in target else 302), message  # a raw backslash is no URL's
    assert set(dash.seen(since)) == {"/auth"}, "nothing else has reached Dash"


def test_no_field_bypasses_the_rule(dash: Dash, guarded: Gateway) -> None:
    for line, *fields in TRICKS:
        assert SECRET not in guarded.ask(request(line, *fields)).body, (line, fields)


def test_these_ways_around_are_real(dash: Dash) -> None:
    """Without the gateway some of them lead to the secret; else the tests above would show nothing."""
    found = {t for t in ADMIN_IN_DISGUISE if t != "*" and straight(dash, request(f"GET {t}")) == SECRET}
    assert {"/%61dmin", "/admin%2Fusers", "/admin/."} <= found
    if "gunicorn" in dash.process.argv:
        assert {"//admin", "///admin"} <= found, "Werkzeug takes leading slashes for one"
        assert straight(dash, request("GET /login/admin", "SCRIPT_NAME: /login")) == SECRET


# -- when there is no answer


def test_an_unreachable_dash_denies_every_request(service: Service, tmp_path: Path) -> None:
    away = f"http://127.0.0.1:{free_port()}"
    sockets = service.process.output.count("a socket")
    with running_gateway(tmp_path, dash=away, ws=service.url, auth=RULES, timeouts={"hold": "0s"}) as gateway:
        for message in (request("GET /"), handshake("/live")):
            assert gateway.ask(message).status in (502, 503)
        gateway.process.wait_for(r"502|503.*auth\[0\]: ")
    assert service.process.output.count("a socket") == sockets


def test_a_dash_that_does_not_answer_denies_every_request(service: Service, tmp_path: Path) -> None:
    with (
        Origin() as silent,
        running_gateway(tmp_path, dash=silent.url, ws=service.url, auth=RULES, timeouts={"auth": "300ms"}) as gateway,
    ):
        for message in (request("GET /"), handshake("/live")):
            answer = gateway.ask(message)
            assert answer.status == 504
            assert answer.json()["error"] == "The upstream dash did not answer the auth request within 0.3 s."
            assert silent.accept().read_message().line == "GET /auth HTTP/1.1"


def test_a_path_that_dash_does_not_have_denies_every_request(dash: Dash, gateways: dict[str, Gateway]) -> None:
    """Dash answers 200 with its page to whatever nobody else serves."""
    assert b"_dash-config" in straight(dash, request("GET /oauth"))
    answer = gateways["remembering"].ask(request("GET /typo"))
    assert answer.status == 502
    assert "gateway.auth[2].ask in the configuration must name a route" in answer.json()["advice"]


# -- memory


def test_a_cached_result_is_requested_once(dash: Dash, gateways: dict[str, Gateway]) -> None:
    gateway = gateways["remembering"]
    cookie = log_in(gateway)
    since = dash.now()
    for _ in range(4):
        assert call_back(gateway, cookie).json()["response"]["greeting"]["children"] == "Hello, ada"
    assert dash.seen(since).count("/auth") == 1
    assert call_back(gateway, log_in(gateway, b"bob")).json()["response"]["greeting"]["children"] == "Hello, bob"
    assert call_back(gateway).status == 302


def test_the_log_says_who_was_asked_and_what_came_back(tmp_path: Path) -> None:
    def refuse(wire: Wire) -> None:
        wire.read_message()
        wire.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")

    with serving(refuse) as dash, running_gateway(tmp_path, dash=dash, auth=RULES) as gateway:
        assert gateway.ask(request("GET /a?token=b", "Cookie: c=d")).body == b"no"
        line = gateway.process.wait_for(r'^.*"GET /a.*$')[0]
        assert re.search(r'"GET /a\?token=\*\*\*" 403 .*\[auth\[0\]: /auth answered 403\]', line), line
        assert "c=d" not in gateway.process.output


# -- the papers

LOGIN = "docs/how-to/login.md"


@pytest.fixture(scope="module")
def example(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway and a Dash, both as the page about a login has them."""
    folder = tmp_path_factory.mktemp("login")
    script, *_ = blocks(LOGIN, "python")
    port = free_port()
    assert "port=8050" in script
    (folder / "app.py").write_text(script.replace("port=8050", f"port={port}"), "utf-8")
    (folder / "login").mkdir()
    (folder / "login" / "login.css").write_text(*blocks(LOGIN, "css"))
    [rules] = [part["gateway"]["auth"] for part in map(yaml.safe_load, blocks(LOGIN, "yaml"))]
    users = json.dumps({"ada": generate_password_hash("p", "pbkdf2:sha256:1")})
    with running(
        *python("app.py"), ready="Dash is running", cwd=folder, env={"SECRET_KEY": "k", "USERS": users}
    ) as process:
        wait_until_listening(port)
        with running_gateway(folder, dash=f"http://127.0.0.1:{port}", ws=service.url, auth=rules) as gateway:
            yield gateway
        assert "Traceback" not in process.output, process.output


def test_the_commands_of_the_login_make_users_that_it_reads() -> None:
    """Of login.md. Without a terminal, getpass reads the password from its input."""
    [commands] = blocks(LOGIN, "sh")
    install, *exports, start = commands.splitlines()
    assert (install, start) == ("pip install flask-login", "python app.py")
    script = "\n".join([*exports, 'echo "$SECRET_KEY"', 'echo "$USERS"'])
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    made = subprocess.run(
        ["bash", "-ec", script],
        input="p\n",
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        start_new_session=True,
        check=True,
    )
    key, users = made.stdout.splitlines()
    assert len(key) == 64
    [(name, hashed)] = json.loads(users).items()
    assert name == "ada" and check_password_hash(hashed, "p") and not check_password_hash(hashed, "q")


FIRST_MESSAGE = """() => new Promise((done) => {
    const socket = new WebSocket("ws://" + location.host + "/live");
    socket.onmessage = (event) => done(event.data);
    socket.onclose = (event) => done("closed " + event.code);
})"""


@pytest.mark.browser
def test_the_login_of_the_papers_does_what_they_say(example: Gateway, tab: Tab) -> None:
    page, wanted = tab.page, f"{example.url}/report?week=3"
    page.goto(wanted)
    expect(page).to_have_url(f"{example.url}/login?next=/report?week%3D3")
    assert page.locator("form").evaluate("form => getComputedStyle(form).display") == "grid"  # its own file is open
    tab.forgive(r"/live' failed: HTTP Authentication failed")
    assert page.evaluate(FIRST_MESSAGE) == "closed 1006"
    for name, password in (("root", "p"), ("ada", "q")):
        page.get_by_label("Name").fill(name)
        page.get_by_label("Password").fill(password)
        page.get_by_role("button").click()
        expect(page.get_by_role("alert")).to_have_text("The name or the password is wrong.")
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Password").fill("p")
    page.get_by_role("button").click()
    expect(page).to_have_url(wanted)
    expect(page.get_by_text("For us alone")).to_be_visible()
    assert json.loads(page.evaluate(FIRST_MESSAGE))["fields"] == [["x-user", "ada"]]
    page.get_by_role("button", name="Log out").click()
    expect(page).to_have_url(f"{example.url}/login")
    assert page.evaluate(FIRST_MESSAGE) == "closed 1006"


def submitted(example: Gateway, target: str, *fields: str) -> Message:
    form = b"user=ada&password=p"
    kind = ("Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(form)}")
    return example.ask(request(f"POST {target}", *kind, *fields, body=form))


@pytest.mark.parametrize(
    ("wanted", "leads_to"),
    [
        ("/report?week=3%26x", "/report?week=3&x"),
        *((hostile, "/") for hostile in ("//evil.example", "/%5Cevil.example", "/%09/evil.example", "https:evil", "")),
        ("/%0D%0ASet-Cookie:a=b", "/"),
    ],
)
def test_after_the_login_of_the_papers_a_browser_stays_on_the_site(
    example: Gateway, wanted: str, leads_to: str
) -> None:
    answer = submitted(example, f"/login?next={wanted}")
    assert (answer.status, answer.get("location")) == (302, leads_to)


def test_a_form_of_another_site_logs_no_user_in(example: Gateway) -> None:
    assert submitted(example, "/login", "Sec-Fetch-Site: cross-site").status == 403
    assert submitted(example, "/login", "Sec-Fetch-Site: same-origin").status == 302
