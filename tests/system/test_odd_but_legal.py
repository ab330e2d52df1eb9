"""Odd messages, legal or nearly so, through the gateway, nginx and HAProxy: what is served, and what is refused.

A strict origin writes down what it got. ``tests/odd.py`` has the messages and
what becomes of them; docs/limits.md says why the gateway is stricter where it
is, and the last test holds the two against each other.
"""

from __future__ import annotations

import os
import pwd
import re
import select
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.processes import ROOT, free_port, running
from tests.programs import program
from tests.system.gateway import running_gateway, serving
from tests.system.test_dash_today import wait_until_listening
from tests.wire.connection import DEADLINE, Wire
from tests.wire.messages import Message, request
from tests.wire.odd import ANSWERS, CHANGED, CUT, LAST, PASSED_ON, REFUSED, REQUESTS, SERVED, Odd
from tests.wire.reading import Request, origin_form, read_at_origin, read_public
from tests.wire.strict_origin import Origins, strict_origins

NGINX = """\
{user} daemon off; worker_processes 1; pid pid; error_log stderr;
events {{}}
http {{
  access_log off; client_body_temp_path body; proxy_temp_path proxy;
  fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  map $http_upgrade $connection_field {{ default upgrade; '' ''; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass {origin}; proxy_http_version 1.1; proxy_set_header Host $http_host;
      proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_field;
    }}
  }}
}}
"""

HAPROXY = """\
defaults
  mode http
  timeout connect 5s
  timeout client 10s
  timeout server 10s
frontend front
  bind 127.0.0.1:{port}
  default_backend back
backend back
  server origin {origin}
"""

RECORDED = {"nginx": "1.22.", "haproxy": "2.6."}
"""The versions whose behaviour ``tests/odd.py`` records; that of others may differ, and is not asked for."""


@contextmanager
def ours(folder: Path, origin: str) -> Iterator[int]:
    with running_gateway(folder, dash=origin, ws=origin, timeouts={"hold": 0}) as gateway:
        yield gateway.port


@contextmanager
def peer(name: str, folder: Path, origin: str) -> Iterator[int]:
    """Run nginx or HAProxy, as plain as they come."""
    path = program(name)
    said = subprocess.run([path, "-v"], capture_output=True, text=True, check=True)
    version = re.search(r"\d+\.\d+\.\S*", said.stdout + said.stderr)
    if version is None or not version[0].startswith(RECORDED[name]):
        pytest.skip(f"recorded is {name} {RECORDED[name]}x; here is {version and version[0]}")
    port = free_port()
    user = f"user {pwd.getpwuid(0).pw_name};" if os.geteuid() == 0 else ""
    if name == "nginx":
        (folder / "nginx.conf").write_text(NGINX.format(port=port, origin=origin, user=user))
        argv = [path, "-p", str(folder), "-c", "nginx.conf"]
    else:
        (folder / "haproxy.cfg").write_text(HAPROXY.format(port=port, origin=origin.partition("://")[2]))
        argv = [path, "-db", "-f", str(folder / "haproxy.cfg")]
    with running(*argv, cwd=folder):
        wait_until_listening(port)
        yield port


PROGRAMS: dict[str, Callable[[Path, str], object]] = {
    "ours": ours,
    "nginx": partial(peer, "nginx"),
    "haproxy": partial(peer, "haproxy"),
}


@dataclass
class Rig:
    """One program, before an origin that answers everything and before one that answers oddly."""

    name: str
    port: int
    origins: Origins
    odd_port: int


def answer_oddly(wire: Wire) -> None:
    """Answer a request for ``/N`` with the odd answer of that number."""
    wire.deadline = 600  # a proxy may keep its connection as long as it likes
    while True:
        case = ANSWERS[int(wire.read_head().split(b" ")[1].strip(b"/"))]
        wire.send(case.raw)
        if case.closes:
            return


@pytest.fixture(scope="module", params=list(PROGRAMS))
def rig(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    run = PROGRAMS[request.param]
    with ExitStack() as stack:
        origins = stack.enter_context(strict_origins(read_at_origin if request.param == "ours" else read_public))
        odd = stack.enter_context(serving(answer_oddly))
        ports = [
            stack.enter_context(run(tmp_path_factory.mktemp(request.param), url))  # type: ignore[arg-type]
            for url in (origins.dash.url, odd)
        ]
        yield Rig(request.param, ports[0], origins, ports[1])


def read_final(wire: Wire, method: str) -> Message:
    """Return the final answer to a request."""
    while True:
        message = wire.read_message(has_body=method != "HEAD")
        if message.status not in (100, 103):
            return message


def timeout(rig: Rig, case: Odd) -> float:
    """Return the seconds for an answer: some refuse by saying nothing."""
    return 3 if getattr(case, rig.name) in (REFUSED, CUT) else DEADLINE


NEXT = request("GET /next")


def ask(rig: Rig, case: Odd) -> str:
    """Send an odd request; return what became of it."""
    rig.origins.forget()
    with Wire.to(rig.port) as wire:
        wire.deadline = timeout(rig, case)
        wire.send(case.raw)
        method, target = case.raw.lstrip(b"\r\n").split(b" ")[:2]
        try:
            answer = read_final(wire, method.decode())
        except (AssertionError, OSError):
            return REFUSED
        rig.origins.settle()
        seen = [seen.request for seen in rig.origins.seen]
        if any(got.faults for got in seen):
            return PASSED_ON
        if answer.status not in (101, 200):
            return REFUSED
        asked = read_public(case.raw)
        assert asked is not None
        body = asked.body if not asked.faults else b"abc" if b"abc" in case.raw else b""
        expected = (method, origin_form(Request(method=method, target=target)), body)
        if [(got.method, got.target, got.body) for got in seen] != [expected]:
            return CHANGED
        if answer.status == 101:
            return SERVED
        try:
            wire.send(NEXT)
            return SERVED if read_final(wire, "GET").json()["line"] == "GET /next" else CHANGED
        except (AssertionError, OSError):
            return LAST


def hear(rig: Rig, number: int) -> str:
    """Ask for an odd answer; return what became of it."""
    case = ANSWERS[number]
    status = max(int(status) for status in re.findall(rb"HTTP/1\.\d (\d{3})", case.raw))
    with Wire.to(rig.odd_port) as wire:
        wire.deadline = timeout(rig, case)
        wire.send(request(f"{case.method} /{number}"))
        try:
            answer = Message(wire.read_head())
            while answer.status in (100, 103):
                answer = Message(wire.read_head())
        except (AssertionError, OSError):
            return REFUSED
        if answer.status == 502:
            return REFUSED
        try:
            body = b"" if case.method == "HEAD" else wire._body(answer)
        except (AssertionError, OSError, ValueError):
            return CUT
    return SERVED if (answer.status, body) == (status, case.body) else CHANGED


@pytest.mark.parametrize("case", REQUESTS, ids=lambda case: case.name)
def test_an_odd_request_meets_what_is_written_down(rig: Rig, case: Odd) -> None:
    assert ask(rig, case) == getattr(case, rig.name)


@pytest.mark.parametrize("number", range(len(ANSWERS)), ids=[case.name for case in ANSWERS])
def test_an_odd_answer_meets_what_is_written_down(rig: Rig, number: int) -> None:
    assert hear(rig, number) == getattr(ANSWERS[number], rig.name)


def test_the_documents_name_every_message_for_which_the_gateway_is_stricter_and_say_why() -> None:
    text = (
        (ROOT / "docs" / "limits.md").read_text().partition("## Where the gateway is stricter")[2].partition("\n## ")[0]
    )
    rows = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in text.splitlines() if line[:2] == "| "]
    documented = {tuple(row[:3]) for row in rows[1:]}
    assert all(len(row) == 4 and row[3] for row in rows)
    observed = {
        (f"{kind}: {case.name}", case.nginx, case.haproxy)
        for kind, cases in (("request", REQUESTS), ("answer", ANSWERS))
        for case in cases
        if case.is_stricter
    }
    assert documented == observed


def test_there_are_enough_of_them() -> None:
    assert len(REQUESTS) + len(ANSWERS) >= 60
    assert len({case.name for case in REQUESTS}) == len(REQUESTS)
    assert len({case.name for case in ANSWERS}) == len(ANSWERS)


@pytest.mark.parametrize("more", [b"\r\n", b"\r\n\r\n\r\n"])
@pytest.mark.parametrize("odd", [b"", b"TE: trailers\r\n"], ids=["fast path", "ordinary"])
def test_a_line_end_too_many_after_a_body_costs_the_client_nothing(tmp_path: Path, odd: bytes, more: bytes) -> None:
    """RFC 9112, section 2.2. It is no beginning of a head, and so no 408 after ``timeouts.head``."""
    post = b"POST /%b HTTP/1.1\r\nHost: x\r\n%bContent-Length: 3\r\n\r\nabc"
    with (
        strict_origins() as origins,
        running_gateway(tmp_path, dash=origins.dash.url, timeouts={"head": "250ms"}) as gateway,
        gateway.dial() as client,
    ):
        for number in range(3):
            client.send(post % (b"%d" % number, odd) + more)
            assert client.read_message().json()["line"] == f"POST /{number}"
            assert not select.select([client.sock], [], [], 0.8)[0], "silence is what the client is to hear"
        client.send(more)
        client.send(post % (b"last", odd))
        assert client.read_message().json()["line"] == "POST /last"
        assert origins.dash.faults == []


def test_empty_lines_without_end_do_not_keep_a_connection(tmp_path: Path) -> None:
    with (
        strict_origins() as origins,
        running_gateway(tmp_path, dash=origins.dash.url, timeouts={"keepalive": "500ms"}) as gateway,
        gateway.dial() as client,
    ):
        client.send(NEXT)
        assert client.read_message().status == 200
        deadline = time.monotonic() + DEADLINE
        while not select.select([client.sock], [], [], 0.02)[0]:
            assert time.monotonic() < deadline
            client.send(b"\r\n" * 10)
        assert client.read_to_cut()[0] == b""
