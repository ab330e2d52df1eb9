"""Requests to the admin listener: which are answered, and what the others are told."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest

from proxy.http1.chunked import ProtocolError
from proxy.http1.head_checks import HeadLimits
from proxy.http1.headers import Head
from proxy.http1.request_reader import RequestReader
from proxy.server.admin import MAX_HEAD, Admin, AdminResponse, Route, names_this_host


def read(data: bytes) -> Head | ProtocolError:
    reader = RequestReader(HeadLimits(MAX_HEAD, MAX_HEAD, MAX_HEAD))
    try:
        reader.feed(data)
    except ProtocolError as error:
        return error
    assert reader.head is not None
    return reader.head


def ask(
    admin: Admin, line: str, *fields: str, host: str | None = "127.0.0.1:8001", is_unix: bool = False
) -> tuple[int, Any]:
    """Return the status, and the body read as JSON; None where there is none."""
    lines = (line, *(() if host is None else (f"Host: {host}",)), *fields, "", "")
    request = read("\r\n".join(lines).encode("latin-1"))
    answer = admin.answer(request, is_unix)
    assert isinstance(answer, bytes)
    return parsed(answer)


def parsed(answer: bytes) -> tuple[int, Any]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"\r\nConnection: close" in head
    return int(head.split()[1]), json.loads(body) if body else None


def ready(_: Head) -> AdminResponse:
    return AdminResponse(503, b"application/json", b'{"in_flight": 0}', ((b"Vary", b"Accept"),))


def healthz(_: Head) -> AdminResponse:
    return AdminResponse(200, b"application/json", b"{}")


def admin_of(routes: Mapping[str, Route]) -> Admin:
    return Admin({"/healthz": healthz, "/readyz": ready, **routes}, lambda: ["gateway", "Health.example"])


@pytest.fixture
def admin() -> Admin:
    return admin_of({})


async def test_a_path_is_one_function_and_may_answer_later() -> None:
    async def slow(head: Head) -> AdminResponse:
        await asyncio.sleep(0)
        return AdminResponse(200, b"application/json", json.dumps(head.target).encode())

    admin = admin_of({"/slow": lambda head: partial(slow, head)})
    later = admin.answer(read(b"GET /slow?a=1 HTTP/1.1\r\nHost: localhost\r\n\r\n"), False)
    assert not isinstance(later, bytes)
    assert parsed(await later) == (200, "/slow?a=1")


async def test_a_fault_in_an_answer_is_logged_and_said(caplog: pytest.LogCaptureFixture) -> None:
    def fault(_: Head) -> AdminResponse:
        raise KeyError("at once")

    async def later_fault() -> AdminResponse:
        raise KeyError("later")

    admin = admin_of({"/fault": fault, "/later": lambda _: later_fault})
    assert ask(admin, "GET /fault HTTP/1.1")[0] == 500
    later = admin.answer(read(b"GET /later HTTP/1.0\r\n\r\n"), False)
    assert not isinstance(later, bytes)
    assert parsed(await later)[0] == 500
    assert "at once" in caplog.text
    assert "later" in caplog.text


async def test_an_answer_that_is_cancelled_before_it_begins_leaves_nothing_that_is_never_awaited() -> None:
    async def slow() -> AdminResponse:
        raise AssertionError("it has begun")

    later = admin_of({"/slow": lambda _: slow}).answer(read(b"GET /slow HTTP/1.0\r\n\r\n"), False)
    assert not isinstance(later, bytes)
    with pytest.raises(asyncio.CancelledError):
        later.throw(asyncio.CancelledError())
    gc.collect()  # a warning would be an error of this test


def test_an_unknown_path_is_told_those_that_there_are(admin: Admin) -> None:
    assert ask(admin, "GET / HTTP/1.1")[1]["error"] == "There are /healthz and /readyz here."


async def test_a_head_is_asked_without_its_body(admin: Admin) -> None:
    assert ask(admin, "HEAD /readyz?x HTTP/1.1") == (503, None)


@pytest.mark.parametrize(
    ("line", "fields", "status"),
    [
        ("GET /healthz HTTP/1.1", ["Accept: */*", "X:", "User-Agent:  kube-probe/1.31 "], 200),
        ("GET /healthz?verbose HTTP/1.1", [], 200),
        ("POST /healthz HTTP/1.1", ["Content-Length: 3"], 405),
        ("GET / HTTP/1.1", [], 404),
        ("GET /healthz/ HTTP/1.1", [], 404),
        ("GET //healthz HTTP/1.1", [], 404),
        ("GET /%68ealthz HTTP/1.1", [], 404),
        ("GET http://127.0.0.1:8001/healthz HTTP/1.1", [], 400),
        ("GET /healthz", [], 400),
        ("GET /healthz HTTP/2.0", [], 400),
        ("GET /healthz HTTP/1.1", ["no colon"], 400),
        ("GET /healthz HTTP/1.1", ["X: a", " folded"], 400),
        ("GET /healthz HTTP/1.1", ["X : a"], 400),
        ("GET /healthz HTTP/1.1", ["X: a\0b"], 400),
        ("GET /healthz HTTP/1.1", ["X: a\nb"], 400),
        ("GET /healthz HTTP/1.1", ["Host: 127.0.0.1"], 400),
        ("GET /healthz HTTP/1.1", ["host: evil.example"], 400),
        ("GET /healthz HTTP/1.1", ["Content-Length: 0", "Content-Length: 0"], 400),
        ("GET /healthz HTTP/1.1", ["Transfer-Encoding: gzip"], 400),
        ("GET /healthz HTTP/1.1", ["X: " + "a" * MAX_HEAD], 431),
    ],
)
async def test_a_request_is_read_in_one_way(admin: Admin, line: str, fields: list[str], status: int) -> None:
    assert ask(admin, line, *fields)[0] == status


async def test_a_balancer_of_old_says_no_host(admin: Admin) -> None:
    assert ask(admin, "GET /healthz HTTP/1.0", host=None)[0] == 200
    assert ask(admin, "GET /healthz HTTP/1.1", host=None)[0] == 400


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:8001",
        "10.0.0.7:80",
        "[::1]",
        "[::1]:8001",
        "[2001:DB8::7]:8001",
        "localhost",
        "LocalHost:8001",
        "gateway",
        "GATEWAY:9",
        "health.example",
        "health.example:8001",
    ],
)
async def test_an_address_localhost_and_what_is_configured_are_answered(admin: Admin, host: str) -> None:
    assert ask(admin, "GET /readyz HTTP/1.1", host=host)[0] == 503
    assert names_this_host(host, ["gateway", "Health.example"])


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8001",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "127.0.0.1.",
        "localhost.",
        "gateway.",
        "gateway.evil.example",
        "xgateway",
        "user@127.0.0.1",
        "127.0.0.1@evil.example",
        "127.0.0.1:8001@evil.example",
        "evil.example#localhost",
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "127.0.0.01",
        "::1",
        "[::1",
        "[::1]x",
        "[::1].evil.example",
        "[localhost]",
        "[127.0.0.1]",
        "localhost:8001:8001",
        "localhost:a",
        "localhost, evil.example",
        "",
        ":8001",
        "*",
        "%6cocalhost",
        "gateway\xa0",
    ],
)
async def test_any_other_name_is_told_what_to_configure(admin: Admin, host: str) -> None:
    status, body = ask(admin, "GET /readyz HTTP/1.1", host=host)
    assert status == 403
    assert "add it to gateway.admin_hosts" in body["advice"]
    assert "in_flight" not in body
    assert ask(admin, "GET /readyz HTTP/1.1", host=host, is_unix=True)[0] == 503, "no browser reaches a unix socket"


def fetched(site: str, mode: str, dest: str) -> list[str]:
    return [f"Sec-Fetch-Site: {site}", f"Sec-Fetch-Mode: {mode}", f"Sec-Fetch-Dest: {dest}"]


@pytest.mark.parametrize("site", ["cross-site", "same-site", "new-word"])
@pytest.mark.parametrize(
    ("mode", "dest"), [("no-cors", "empty"), ("no-cors", "script"), ("cors", "empty"), ("navigate", "iframe")]
)
async def test_a_page_of_another_site_makes_no_work_here(site: str, mode: str, dest: str) -> None:
    def costly(_: Head) -> AdminResponse:
        raise AssertionError("it was asked")

    status, body = ask(admin_of({"/status": costly}), "GET /status HTTP/1.1", *fetched(site, mode, dest))
    assert status == 403
    assert "pages of other sites" in body["error"]


@pytest.mark.parametrize(
    "fields",
    [
        [],
        fetched("none", "navigate", "document"),
        fetched("same-origin", "cors", "empty"),
        fetched("cross-site", "navigate", "document"),
    ],
    ids=["no browser", "typed", "the page of the status itself", "a link in another page"],
)
async def test_a_person_who_looks_and_a_program_are_answered(admin: Admin, fields: list[str]) -> None:
    assert ask(admin, "GET /readyz HTTP/1.1", *fields)[0] == 503
