"""Dash is asked when it can be reached, and what its page claims is tried before it is believed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from proxy.config import Settings, UpstreamAddress
from proxy.dash import reader
from proxy.dash.facts import NOT_ASKED, UNKNOWN, DashFacts, warnings
from proxy.dash.reader import DashReader, NotRead, ask
from proxy.errors import UpstreamUnreachable
from proxy.upstream.upstream import Upstream
from tests.processes import free_port
from tests.proxy.origin import Script, origin, read_head

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
FORBIDDEN = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"

Socket = Callable[[str, str, str], bytes]
"""The answer to a handshake, by its path, Origin and Host."""


def page(prefix: str = "/", socket: str | None = None, version: str = "4.4.1") -> bytes:
    config: dict[str, object] = {"dash_version": version, "requests_pathname_prefix": prefix}
    if socket is not None:
        config["websocket"] = {"url": socket, "heartbeat_interval": 30_000}
    return f'<!doctype html><script id="_dash-config" type="application/json">{json.dumps(config)}</script>'.encode()


def ok(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def status(line: str, *fields: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {line}", "Content-Length: 0", *fields, "", ""]).encode()


def as_dash(path: str, origin: str, host: str) -> bytes:
    """Answer as Dash does: pages of its own host alone."""
    return SWITCH if origin == f"http://{host}" else FORBIDDEN


class App:
    """A server that answers paths, and handshakes at ``socket``; ``asked`` has what came, in order."""

    def __init__(self, pages: dict[str, bytes], socket: Socket = as_dash) -> None:
        self.pages, self.socket = pages, socket
        self.asked: list[str] = []
        self.arrived = asyncio.Queue[str]()

    @property
    def script(self) -> Script:
        async def script(stream: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            lines = (await read_head(stream)).decode().split("\r\n")
            fields = dict(line.split(": ", 1) for line in lines[1:] if line)
            target = lines[0].split(" ")[1]
            path = target.partition("?")[0]
            if "Sec-WebSocket-Key" in fields:
                self.asked.append(f"{path} from {fields['Origin']}")
                writer.write(self.socket(path, fields["Origin"], fields["Host"]))
            else:
                self.asked.append(target)
                self.arrived.put_nowait(target)
                writer.write(self.pages.get(target, status("404 Not Found")))
            await writer.drain()
            await stream.read()

        return script


def upstream(url: str, **values: object) -> tuple[Upstream, Settings]:
    settings = Settings.model_validate({"health": {"interval": "20ms"}, "upstreams": {"dash": url}, **values})
    return Upstream("dash", settings.addresses_of("dash"), settings), settings


async def facts_of(app: App, path: str = "/") -> DashFacts:
    async with origin(app.script) as server:
        dash, _ = upstream(server.url)
        found = await ask(dash, path)
        await server.wait_closed(server.connections)  # nothing is left open
        return found


# -- the page


async def test_the_page_of_a_dash_on_flask() -> None:
    app = App({"/": ok(page())})
    found = await facts_of(app)
    assert found.page is not None
    assert (found.page.dash_version, found.prefix, found.page_path, found.checks_origin) == ("4.4.1", "/", "/", set())
    assert app.asked == ["/"], "a Dash without a WebSocket gets no handshake"


async def test_redirects_on_the_same_server_are_followed() -> None:
    pages = {
        "/": status("302 Found", "Location: /app"),
        "/app": status("308 Permanent Redirect", "Location: http://HOST/app/"),
        "/app/": ok(page("/app/")),
    }
    app = App(pages)
    async with origin(app.script) as server:
        dash, _ = upstream(server.url)
        app.pages["/app"] = app.pages["/app"].replace(b"HOST", dash.authority)
        assert (await ask(dash, "/")).page_path == "/app/"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (status("404 Not Found"), "GET / answered 404; if the app has a prefix, write it in gateway.dash_prefix"),
        (status("401 Unauthorized"), "GET / answered 401"),
        (status("302 Found", "Location: https://login.example/"), "GET / answered 302, to another place"),
        (status("302 Found", "Location: //login.example/"), "GET / answered 302, to another place"),
        (status("302 Found"), "GET / answered 302, to another place"),
        (status("302 Found", "Location: /"), "it redirects from page to page, at last to /"),
        (ok(b"<h1>another server</h1>"), "GET / answered with a page that is not Dash's"),
        (ok(b"\xff\xfe" * 9), "GET / answered with a page that is not Dash's"),
        (ok(bytes((1 << 20) + 1)), "GET / answered more than 1048576 bytes"),
    ],
)
async def test_what_is_no_page_of_dash_is_said(answer: bytes, why: str) -> None:
    with pytest.raises(NotRead) as caught:
        await facts_of(App({"/": answer}))
    assert str(caught.value) == why


async def test_a_dash_that_is_not_there_is_an_error_of_the_upstream() -> None:
    dash, _ = upstream(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(UpstreamUnreachable):
        await ask(dash, "/")


# -- which origins Dash checks


async def test_a_websocket_that_refuses_other_sites_and_accepts_its_own_page_has_shown_it() -> None:
    app = App({"/app/": ok(page("/app/", "/app/_dash-ws-callback"))})
    found = await facts_of(app, "/app/")
    assert found.checks_origin == {"/app/_dash-ws-callback"}
    assert [line.partition(" from ")[0] for line in app.asked] == ["/app/", *["/app/_dash-ws-callback"] * 2]


async def test_behind_a_proxy_that_removes_the_prefix_it_is_beside_the_page() -> None:
    def socket(path: str, origin: str, host: str) -> bytes:
        return as_dash(path, origin, host) if path == "/_dash-ws-callback" else FORBIDDEN

    found = await facts_of(App({"/": ok(page("/app/", "/app/_dash-ws-callback"))}, socket))
    assert found.checks_origin == {"/_dash-ws-callback"}


@pytest.mark.parametrize(
    "socket",
    [
        lambda path, origin, host: SWITCH,
        lambda path, origin, host: FORBIDDEN,
        lambda path, origin, host: FORBIDDEN if origin == f"http://{host}" else SWITCH,
        lambda path, origin, host: status("404 Not Found") if "invalid" in origin else SWITCH,
        lambda path, origin, host: ok(b"hello"),
    ],
    ids=["accepts all", "refuses all", "accepts the others", "has no such path for others", "knows no WebSockets"],
)
async def test_a_claim_that_is_not_shown_opens_nothing(socket: Socket) -> None:
    """An endpoint ``/chat/{name}`` of another server, whose page says that Dash's WebSocket is below ``/chat/``."""
    found = await facts_of(App({"/": ok(page("/chat/", "/chat/_dash-ws-callback"))}, socket))
    assert found.prefix == "/chat/"
    assert found.checks_origin == frozenset()


async def test_of_several_addresses_each_has_to_show_it() -> None:
    pages = {"/": ok(page("/", "/_dash-ws-callback"))}
    one, other = App(pages), App(pages)
    async with origin(one.script) as first, origin(other.script) as second:
        dash, settings = upstream(first.url)
        both = [*settings.addresses_of("dash"), UpstreamAddress(url=second.url)]
        dash.reconfigure(both, settings, None)
        assert (await ask(dash, "/")).checks_origin == {"/_dash-ws-callback"}
        other.socket = lambda path, origin, host: SWITCH
        assert (await ask(dash, "/")).checks_origin == frozenset()


# -- when it is asked


class Told:
    """What a reader tells, one after the other."""

    def __init__(self) -> None:
        self._facts = asyncio.Queue[DashFacts]()
        self.latest = UNKNOWN

    def __call__(self, facts: DashFacts) -> None:
        self.latest = facts
        self._facts.put_nowait(facts)

    async def until(self, is_so: Callable[[DashFacts], bool]) -> DashFacts:
        async with asyncio.timeout(10):
            while not is_so(facts := await self._facts.get()):
                pass
        return facts


@asynccontextmanager
async def reading(url: str, **values: object) -> AsyncIterator[tuple[DashReader, Told, Upstream]]:
    dash, settings = upstream(url, **values)
    told = Told()
    one = DashReader(dash, settings, told)
    one.start()
    dash.start()
    try:
        yield one, told, dash
    finally:
        one.close()
        await one.closed()
        dash.close()
        await dash.closed()


@pytest.fixture(autouse=True)
def _without_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_PAUSE", 0.0)


async def test_dash_is_asked_when_it_can_be_reached_and_again_when_it_comes_back() -> None:
    port = free_port()
    first, second = App({"/": ok(page(version="4.4.1"))}), App({"/": ok(page(version="4.5.0"))})
    async with reading(f"http://127.0.0.1:{port}") as (_, told, dash):
        async with origin(first.script, port=port):
            await told.until(lambda facts: version(facts) == "4.4.1")
        dash.health.missed("as a request has found")
        async with origin(second.script, port=port):
            await told.until(lambda facts: version(facts) == "4.5.0")


async def test_requests_that_waited_for_dash_go_first() -> None:
    """The first one makes Dash set itself up, and a second one in the middle of that gets a page without assets."""
    app = App({"/": ok(page())})
    async with origin(app.script) as server, reading(server.url) as (_, told, dash):
        slots = dash.addresses[0].slots
        assert slots.try_acquire()
        await asyncio.sleep(4 * reader._GLANCE)
        assert app.asked == []
        slots.release()
        await told.until(lambda facts: version(facts) == "4.4.1")


async def test_what_it_has_proved_is_forgotten_while_it_is_unreachable() -> None:
    app = App({"/": ok(page("/", "/_dash-ws-callback"))})
    async with origin(app.script) as server, reading(server.url) as (_, told, _):
        known = await told.until(lambda facts: bool(facts.checks_origin))
        server.listener.close()
        assert await told.until(lambda facts: not facts.checks_origin) == known.without_proof()


async def test_after_a_while_the_page_is_read_again_and_nothing_tried_if_it_is_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reader, "ASK_AGAIN", 0.02)
    app = App({"/": ok(page("/", "/_dash-ws-callback"))})
    async with origin(app.script) as server, reading(server.url) as (_, told, _):
        await told.until(lambda facts: bool(facts.checks_origin))
        for _ in range(4):
            assert await app.arrived.get() == "/"
        assert len([line for line in app.asked if " from " in line]) == 2
        app.pages["/"] = ok(page("/", "/_dash-ws-callback", version="4.5.0"))
        await told.until(lambda facts: version(facts) == "4.5.0")
        assert len([line for line in app.asked if " from " in line]) == 4


async def test_a_dash_at_another_address_is_another_dash() -> None:
    one, other = App({"/": ok(page(version="4.4.1"))}), App({"/": ok(page(version="4.5.0"))})
    async with origin(one.script) as first, origin(other.script) as second:
        async with reading(first.url) as (asking, told, _):
            await told.until(lambda facts: version(facts) == "4.4.1")
            moved, settings = upstream(second.url)
            asking.reconfigure(moved, settings)
            assert asking.facts == UNKNOWN
            moved.start()
            await told.until(lambda facts: version(facts) == "4.5.0")
            moved.close()
            await moved.closed()


async def test_without_health_checks_it_is_not_asked() -> None:
    app = App({"/": ok(page())})
    async with origin(app.script) as server:
        async with reading(server.url, health={"interval": 0}) as (asking, told, dash):
            dash.health.reached()
            assert asking.facts == NOT_ASKED
            assert not asking.is_looking
            await asyncio.sleep(0)
            assert told.latest == NOT_ASKED
        assert app.asked == []


async def test_a_path_below_which_a_request_has_found_dash_is_looked_at() -> None:
    app = App({"/app/": ok(page("/app/"))})
    async with origin(app.script) as server, reading(server.url) as (asking, told, _):
        await told.until(lambda facts: "GET / answered 404" in facts.why)
        app.arrived = asyncio.Queue()
        asking.look_at("/nothing/")
        asking.look_at("/app/")  # one at a time
        assert await app.arrived.get() == "/nothing/"
        asking.look_at("/app/")
        assert (await told.until(lambda facts: facts.page is not None)).page_path == "/app/"
        assert not asking.is_looking
        assert "/nothing/" not in told.latest.why


async def test_however_many_places_clients_make_up_every_second_look_is_at_the_root() -> None:
    app = App({})
    async with origin(app.script) as server, reading(server.url) as (asking, told, _):
        await told.until(lambda facts: "GET / answered 404" in facts.why)
        app.arrived = asyncio.Queue()
        seen = []
        for number in range(8):
            asking.look_at(f"/{number}/")
            seen.append(await app.arrived.get())
            asking.look_at("/more/")  # while that look is under way
        assert seen[::2] == ["/0/", "/more/", "/more/", "/more/"] and set(seen[1::2]) == {"/"}
        app.pages = {"/": ok(page("/"))}
        while await app.arrived.get() != "/":
            asking.look_at("/more/")
        assert (await told.until(lambda facts: facts.page is not None)).page_path == "/"


async def test_a_dash_that_takes_connections_and_answers_nothing_is_said_until_it_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reader, "_DEADLINE", 0.1)
    monkeypatch.setattr(reader, "_RETRY", 0.02)
    monkeypatch.setattr(reader, "ASK_AGAIN", 0.02)
    app, listening = App({"/": ok(page())}), asyncio.Event()

    async def slow(stream: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await listening.wait()
        await app.script(stream, writer)

    async with origin(slow) as server, reading(server.url) as (_, told, _):
        silent = await told.until(lambda facts: facts.is_silent)
        assert (silent.page, silent.why) == (None, "it did not answer within 0.1 s")
        assert "in debug mode on FastAPI a mistake" in warnings(silent, "auto", 3600.0)[0]
        listening.set()
        await told.until(lambda facts: facts.page is not None and not facts.is_silent)
        listening.clear()
        assert (await told.until(lambda facts: facts.is_silent)).page is not None, "it is still the one that was known"
        listening.set()
        assert warnings(await told.until(lambda facts: not facts.is_silent), "auto", 3600.0) == []


async def test_a_dash_that_has_moved_to_another_prefix_is_looked_for_from_the_root() -> None:
    app = App({"/": status("302 Found", "Location: /one/"), "/one/": ok(page("/one/"))})
    async with origin(app.script) as server, reading(server.url) as (_, told, dash):
        await told.until(lambda facts: facts.prefix == "/one/")
        app.pages = {"/": status("302 Found", "Location: /two/"), "/two/": ok(page("/two/"))}
        dash.health.missed("as a request has found")
        await told.until(lambda facts: facts.prefix == "/two/")


async def test_what_was_shown_before_dash_went_does_not_count_when_the_answer_comes_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is replaced in a moment, between its last answer and the next turn of the reader."""
    app, replaced = App({"/": ok(page("/", "/_dash-ws-callback"))}), asyncio.Event()

    async def asked(dash: Upstream, path: str, known: DashFacts | None) -> DashFacts:
        found = await ask(dash, path, known)
        if not replaced.is_set():
            app.socket = lambda path, origin, host: SWITCH
            dash.addresses[0].health.missed("gone")
            dash.addresses[0].health.reached()
            replaced.set()
            assert found.checks_origin
        return found

    monkeypatch.setattr(reader, "ask", asked)
    async with origin(app.script) as server, reading(server.url) as (_, told, _):
        first = await told.until(lambda facts: facts.page is not None)
        assert replaced.is_set()
        assert first.checks_origin == frozenset()
        for _ in range(2):
            await app.arrived.get()
        assert told.latest.checks_origin == frozenset()


async def test_a_dash_that_is_busy_is_still_the_one_that_was_known(monkeypatch: pytest.MonkeyPatch) -> None:
    app = App({"/": ok(page("/", "/_dash-ws-callback"))})
    async with origin(app.script) as server, reading(server.url) as (asking, told, dash):
        known = await told.until(lambda facts: bool(facts.checks_origin))
        monkeypatch.setattr(reader, "_DEADLINE", 0.05)
        monkeypatch.setattr(reader, "_RETRY", 0.05)
        app.pages["/"] = b""
        app.arrived = asyncio.Queue()
        asking.reconfigure(dash, Settings.model_validate({"health": {"interval": "20ms"}}))
        for _ in range(2):
            await app.arrived.get()
        assert asking.facts == replace(known, is_silent=True)


def version(facts: DashFacts) -> str | None:
    return None if facts.page is None else facts.page.dash_version
