"""Dash is asked before anything passes: what the question says, what becomes of each answer, and what is remembered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from proxy.access.auth_rules import AuthRule
from proxy.access.forward_auth import Allowed, Denied, ForwardAuth, _Cache
from proxy.config import Settings, Timeouts, UpstreamAddress
from proxy.errors import Outcome
from proxy.exchange.record import Exchange
from proxy.http1.headers import Head
from proxy.upstream.upstream import Upstream
from tests.processes import free_port
from tests.proxy.listening import HANDSHAKE, SWITCH, Listening, listening
from tests.proxy.origin import Origin, origin, read_head

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
YES = b"HTTP/1.1 204 No Content\r\nX-User: ada\r\nX-Other: 1\r\nSet-Cookie: fresh=1\r\n\r\n"
TO_LOGIN = (
    b"HTTP/1.1 302 Found\r\nLocation: /login?next=%2F\r\nSet-Cookie: s=1\r\nSet-Cookie: t=2\r\n"
    b"Content-Length: 2\r\n\r\ngo"
)
GET = b"GET /page HTTP/1.1\r\nHost: x\r\nCookie: session=1\r\nX-User: root\r\nx_user: root\r\nX.User: root\r\n\r\n"
RULE = {"ask": "/auth?for=gateway", "copy_headers": ["X-User"]}


class Dash:
    """An upstream that answers questions in turn (the last answer again and again), and everything else with OK."""

    def __init__(self, *answers: bytes) -> None:
        self._answers = list(answers) or [YES]
        self.questions: list[bytes] = []
        self.requests: list[bytes] = []
        self.asked = asyncio.Event()
        self.origin = Origin()

    async def play(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await read_head(reader)
            if head.startswith(b"GET /auth"):
                self.questions.append(head)
                self.asked.set()
                answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
                writer.write(answer)
                if not answer or b"Connection: close" in answer:
                    await reader.read()
                    return
            else:
                self.requests.append(head)
                writer.write(SWITCH if b"\r\nUpgrade: websocket\r\n" in head else OK)


@asynccontextmanager
async def asking(
    *answers: bytes, rules: Iterable[dict[str, Any]] = (RULE,), **settings: Any
) -> AsyncIterator[tuple[Listening, Dash]]:
    dash = Dash(*answers)
    async with origin(dash.play) as server, listening(server.url, auth=list(rules), **settings) as gateway:
        dash.origin = server
        yield gateway, dash


def fields(head: bytes) -> list[tuple[str, str]]:
    pairs = (line.partition(": ") for line in head.decode("latin-1").split("\r\n")[1:-2])
    return [(name, value) for name, _, value in pairs]


def values(head: bytes, name: str) -> list[str]:
    return [value for key, value in fields(head) if key.lower() == name.lower()]


# -- the question


async def test_a_question_is_the_request_without_body_and_upgrade() -> None:
    async with asking() as (gateway, dash):
        await gateway.ask(
            b"POST /a%20b?c=d HTTP/1.1\r\nHost: x:1\r\nCookie: s=1\r\nAuthorization: Basic QQ==\r\nAccept: */*\r\n"
            b"Accept-Encoding: gzip\r\nContent-Type: a/b\r\ncontent_encoding: br\r\nExpect: nothing\r\n"
            b"Range: bytes=0-1\r\nIf-None-Match: e\r\nTE: trailers\r\nX-Forwarded-Uri: /lie\r\n"
            b"X_Forwarded_Method: LIE\r\nX-Original-URL: /lie\r\nX-Real-IP: 1.2.3.4\r\n"
            b"X_USER: root\r\nScript_Name: /a\r\nContent-Length: 2\r\n\r\n{}"
        )
        exchange = await gateway.ended()
    [question] = dash.questions
    assert question.startswith(b"GET /auth?for=gateway HTTP/1.1\r\n")
    assert fields(question) == [
        ("Host", "x:1"),
        ("Cookie", "s=1"),
        ("Authorization", "Basic QQ=="),
        ("Accept", "*/*"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Forwarded-Proto", "http"),
        ("X-Forwarded-Host", "x:1"),
        ("X-Forwarded-Port", "1"),
        ("X-Request-ID", exchange.id),
        ("Accept-Encoding", "identity"),
        ("X-Forwarded-Method", "POST"),
        ("X-Forwarded-Uri", "/a%20b?c=d"),
    ]
    [request] = dash.requests
    assert request.startswith(b"POST /a%20b?c=d HTTP/1.1\r\n")
    assert values(request, "x-request-id") == [exchange.id]


async def test_a_question_about_a_handshake_is_no_handshake_and_says_so() -> None:
    async with asking() as (gateway, dash), gateway.client() as client:
        await client.send(
            HANDSHAKE.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: a\r\nOrigin: http://example.test:8000\r\n\r\n")
        )
        assert await client.read_head() == SWITCH
        [question], [request] = dash.questions, dash.requests
        assert b"sec-websocket" not in question.lower()
        assert not values(question, "upgrade") and not values(question, "connection")
        assert values(question, "x-forwarded-upgrade") == ["websocket"]
        assert values(question, "x-forwarded-uri") == ["/live"]
        assert values(question, "origin") == ["http://example.test:8000"]
        assert values(request, "x-user") == ["ada"]
        assert values(request, "sec-websocket-protocol") == ["a"]


async def test_a_trusted_proxy_does_not_say_what_is_asked_about() -> None:
    async with asking(trusted_proxies=["127.0.0.1"]) as (gateway, dash):
        await gateway.ask(
            b"GET /p HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Uri: /q\r\n"
            b"X-Forwarded-Method: PUT\r\n\r\n"
        )
    [question] = dash.questions
    assert values(question, "x-forwarded-uri") == ["/p"]
    assert values(question, "x-forwarded-method") == ["GET"]
    assert values(question, "x-forwarded-for") == ["192.0.2.7, 127.0.0.1"]


# -- yes


async def test_what_the_answer_says_goes_on_and_what_the_client_says_does_not() -> None:
    async with asking() as (gateway, dash):
        answer = await gateway.ask(GET)
        exchange = await gateway.ended()
    assert answer == b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
    [request] = dash.requests
    assert [field for field in fields(request) if "user" in field[0].lower()] == [("X-User", "ada")]
    assert not values(request, "x-other") and not values(request, "x-forwarded-uri")
    assert b"root" not in request + dash.questions[0]
    assert (exchange.status, exchange.outcome) == (200, Outcome.SERVED)
    assert dash.origin.connections == 1, "the question's connection carries the request"


async def test_a_field_that_the_answer_leaves_out_is_nobodys_to_say() -> None:
    """Caddy's GHSA-7r4p-vjf4-gxv4: it took the client's where the answer had none."""
    async with asking(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") as (gateway, dash):
        await gateway.ask(GET)
    assert b"root" not in dash.requests[0]


async def test_an_identity_header_of_a_client_is_removed_where_dash_is_not_asked_too() -> None:
    rules = [{"path": "/", "ask": None}, {**RULE, "path": "/admin"}]
    async with asking(rules=rules) as (gateway, dash):
        async with gateway.client() as client:
            for _ in range(2):  # the second finds an idle connection, and would go the plain way
                await client.send(GET.replace(b"x_user: root\r\n", b""))
                await client.read(len(OK))
        assert gateway.plain == 0
    assert not dash.questions
    assert b"root" not in b"".join(dash.requests)


async def test_a_nominated_field_is_still_the_answers() -> None:
    async with asking() as (gateway, dash):
        await gateway.ask(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close, X-User\r\n\r\n")
    assert values(dash.requests[0], "x-user") == ["ada"]


async def test_several_values_of_a_field_go_on() -> None:
    async with asking(YES.replace(b"X-Other: 1", b"x-user: bob")) as (gateway, dash):
        await gateway.ask(GET)
    assert values(dash.requests[0], "x-user") == ["ada", "bob"]


async def test_authorization_may_be_copied_and_is_still_asked_with() -> None:
    rule = {"ask": "/auth", "copy_headers": ["Authorization"]}
    answer = b"HTTP/1.1 200 OK\r\nAuthorization: Bearer inner\r\nContent-Length: 0\r\n\r\n"
    async with asking(answer, rules=[rule]) as (gateway, dash):
        await gateway.ask(b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Basic QQ==\r\n\r\n")
    assert values(dash.questions[0], "authorization") == ["Basic QQ=="]
    assert values(dash.requests[0], "authorization") == ["Bearer inner"]


async def test_simple_requests_are_authenticated_too_and_open_ones_stay_on_the_fast_path() -> None:
    rules = [RULE, {"path": "/assets", "ask": None}]
    async with asking(rules=rules) as (gateway, dash), gateway.client() as client:
        for path, plain in ((b"/page", 0), (b"/assets/a.js", 1), (b"/page", 1), (b"/assets/../page", 1), (b"//x", 1)):
            await client.send(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            assert await client.read(len(OK)) == OK
            assert gateway.plain == plain, path
    assert len(dash.questions) == 4


# -- no


@pytest.mark.parametrize(
    "request_", [GET, HANDSHAKE, GET.replace(b"GET", b"POST").replace(b"\r\n\r\n", b"\r\nContent-Length: 2\r\n\r\n{}")]
)
async def test_a_refusal_is_relayed_as_it_is_and_nothing_passes(request_: bytes) -> None:
    async with asking(TO_LOGIN) as (gateway, dash), gateway.client() as client:
        await client.send(request_)
        assert await client.read(len(TO_LOGIN)) == TO_LOGIN
        exchange = await gateway.ended()
        assert (exchange.status, exchange.outcome) == (302, Outcome.SERVED)
        assert exchange.detail == "auth[0]: /auth?for=gateway answered 302"
        await client.send(GET)  # what follows on the connection is a request of its own
        assert await client.read(len(TO_LOGIN)) == TO_LOGIN
    assert len(dash.questions) == 2
    assert not dash.requests


async def test_a_refusal_of_head_has_no_body() -> None:
    async with asking(TO_LOGIN) as (gateway, dash):
        answer = await gateway.ask(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer == TO_LOGIN.replace(b"\r\n\r\ngo", b"\r\nConnection: close\r\n\r\n")
    assert dash.questions[0].startswith(b"GET ")
    assert values(dash.questions[0], "x-forwarded-method") == ["HEAD"]


@pytest.mark.parametrize("status", [b"301 Moved", b"304 Not Modified", b"401 Unauthorized", b"403 No", b"500 Oh"])
async def test_only_2xx_allows(status: bytes) -> None:
    async with asking(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n") as (gateway, dash):
        assert (await gateway.ask(GET)).startswith(b"HTTP/1.1 " + status)
    assert not dash.requests


PAGE = b'<html><div id="react-entry-point"></div><script id="_dash-config" type="application/json">{}</script></html>'


@pytest.mark.parametrize(
    ("answer", "status", "sentence"),
    [
        (b"", 504, "The upstream dash did not answer the auth request within 0.2 s."),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok", 504, "did not answer the auth request within 0.2 s"),
        (b"nonsense\r\n\r\n", 502, "The upstream dash"),
        (SWITCH, 502, "switched protocols, which nothing had asked for"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % len(PAGE) + PAGE,
            502,
            "has no route for the auth request: it answers with its page",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n" + b"a" * 70000,
            502,
            "answered the auth request with more than 65536 bytes",
        ),
    ],
    ids=["silent", "never ends", "nonsense", "101", "a page of Dash", "large"],
)
@pytest.mark.parametrize("request_", [GET, HANDSHAKE, GET.replace(b"GET", b"HEAD")], ids=["get", "handshake", "head"])
async def test_without_a_valid_auth_response_every_request_is_denied(
    answer: bytes, status: int, sentence: str, request_: bytes
) -> None:
    async with asking(answer, timeouts={"auth": "200ms"}) as (gateway, dash):
        got = await gateway.ask(request_)
        assert got.startswith(b"HTTP/1.1 %d " % status)
        if not request_.startswith(b"HEAD"):
            assert sentence in json.loads(got.partition(b"\r\n\r\n")[2])["error"]
        exchange = await gateway.ended()
        assert exchange.detail.startswith("auth[0]: ") and sentence.strip(".")[3:] in exchange.detail
    assert not dash.requests


async def test_an_unreachable_dash_denies_requests_to_the_ws_service_too() -> None:
    dash, ws = f"http://127.0.0.1:{free_port()}", Dash()
    async with origin(ws.play) as server, listening(dash, server.url, auth=[RULE], timeouts={"hold": 0}) as gateway:
        assert (await gateway.ask(HANDSHAKE)).startswith(b"HTTP/1.1 503 ")
        assert server.connections == 0


@pytest.mark.parametrize("method", [b"GET", b"POST"])
async def test_a_question_waits_for_a_dash_that_is_coming_back(method: bytes) -> None:
    """Whatever the request is that it is about: nothing of that has been sent."""
    dash, port = Dash(), free_port()
    async with listening(f"http://127.0.0.1:{port}", auth=[RULE], timeouts={"hold": "10s"}) as gateway:
        async with gateway.client() as client:
            await client.send(GET.replace(b"GET", method))
            await gateway.waits()
            server = await asyncio.start_server(dash.play, "127.0.0.1", port)
            assert await client.read(len(OK)) == OK
            server.close()
    assert len(dash.questions) == len(dash.requests) == 1


async def test_a_path_with_two_readings_and_two_to_ask_is_refused() -> None:
    async with asking(rules=[RULE, {"path": "/admin", "ask": "/auth/admin"}]) as (gateway, dash):
        assert (await gateway.ask(b"GET /x/../admin HTTP/1.1\r\nHost: x\r\n\r\n")).startswith(b"HTTP/1.1 400 ")
    assert not dash.questions and not dash.requests


# -- mishaps


async def test_a_question_that_meets_the_close_of_an_idle_connection_is_put_again() -> None:
    heads: list[bytes] = []

    async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await read_head(reader))
        writer.write(YES)
        heads.append(await read_head(reader))
        writer.write(OK)
        heads.append(await read_head(reader))  # and closes, with the question unanswered

    dash = Dash()
    async with origin(closing, dash.play) as server, listening(server.url, auth=[RULE]) as gateway:
        async with gateway.client() as client:
            for _ in range(2):
                await client.send(GET)
                assert await client.read(len(OK)) == OK
        assert server.connections == 2
    assert heads[2].startswith(b"GET /auth") and len(dash.questions) == 1


async def test_a_client_that_leaves_ends_the_question() -> None:
    async with asking(b"") as (gateway, dash):
        async with gateway.client() as client:
            await client.send(HANDSHAKE)
            await dash.asked.wait()
        await dash.origin.wait_closed(1)
        assert (await gateway.ended()).outcome is Outcome.CLIENT_GONE


# -- cache

CACHED = {**RULE, "cache": "1h"}


async def test_a_cached_result_is_used_for_the_same_auth_request_and_no_other() -> None:
    async with asking(YES, YES.replace(b"ada", b"bob"), rules=[CACHED]) as (gateway, dash):
        for _ in range(3):
            await gateway.ask(GET)
        assert len(dash.questions) == 1
        assert [values(request, "x-user") for request in dash.requests] == [["ada"]] * 3
        others = [
            GET.replace(b"session=1", b"session=2"),
            GET.replace(b"Host: x", b"Host: y"),
            GET.replace(b"Cookie", b"Authorization: a\r\nCookie"),
            GET.replace(b"/page", b"/page2"),
            GET.replace(b"GET", b"HEAD"),
            GET.replace(b"Cookie", b"X-Team: b\r\nCookie"),
        ]
        for count, other in enumerate(others, 2):
            await gateway.ask(other)
            assert len(dash.questions) == count
            assert values(dash.requests[-1], "x-user") == ["bob"]
        await gateway.ask(GET.replace(b"root", b"toor"))  # what is removed makes no difference
        assert len(dash.questions) == len(others) + 1


async def test_a_trace_makes_no_other_question_of_one_and_dash_gets_it() -> None:
    async with asking(rules=[CACHED]) as (gateway, dash):
        for span in (b"00f067aa0ba902b7", b"b7ad6b7169203331"):
            trace = b"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-" + span + b"-01\r\ntracestate: a=" + span
            await gateway.ask(GET.replace(b"Cookie", trace + b"\r\nCookie"))
            assert values(dash.requests[-1], "tracestate") == [f"a={span.decode()}"]
        (question,) = dash.questions
        assert values(question, "tracestate") == ["a=00f067aa0ba902b7"]


async def test_a_no_is_never_remembered() -> None:
    async with asking(TO_LOGIN, YES, rules=[CACHED]) as (gateway, dash):
        assert (await gateway.ask(GET)).startswith(b"HTTP/1.1 302 ")
        assert (await gateway.ask(GET)).startswith(b"HTTP/1.1 200 ")
    assert len(dash.questions) == 2


async def test_without_a_cache_each_request_is_asked_about() -> None:
    async with asking() as (gateway, dash):
        for _ in range(3):
            await gateway.ask(GET)
    assert len(dash.questions) == 3


async def test_a_cached_result_expires() -> None:
    dash = Dash()
    async with origin(dash.play) as server:
        upstream = Upstream("dash", [UpstreamAddress(url=server.url)], Settings())
        auth = ForwardAuth(upstream, frozenset(), Timeouts())
        head = Head("GET", "/", (1, 1), ((b"Host", b"x"),))
        loop = asyncio.get_running_loop()
        exchange = Exchange("e1", when=0, began=0)

        async def ask(cache: float) -> None:
            assert not isinstance(
                await auth.ask(AuthRule("a", "/auth", cache=cache), head, "/", (), exchange, is_handshake=False), Denied
            )

        await ask(0.2)
        until = loop.time() + 0.2
        await ask(0.2)
        assert len(dash.questions) == 1
        await asyncio.sleep(until - loop.time())  # the time itself is what is tested
        await ask(0.2)
        assert len(dash.questions) == 2
        upstream.close()


def test_the_cache_is_bounded_in_answers_and_in_bytes() -> None:
    cache = _Cache(3, 100)
    for name in (b"a", b"b", b"c", b"d"):
        cache.put(name, Allowed(), 10)
    assert [cache.get(name, 0) for name in (b"a", b"b")] == [None, Allowed()]
    cache.put(b"e", Allowed(((b"X-User", b"x" * 90),)), 10)
    cache.put(b"e", Allowed(((b"X-User", b"y" * 90),)), 10)
    assert cache.get(b"e", 0) == Allowed(((b"X-User", b"y" * 90),))
    cache.put(b"f", Allowed(((b"X-User", b"x" * 90),)), 10)
    assert [cache.get(name, 0) for name in (b"b", b"e")] == [None, None]
    cache.put(b"g", Allowed(((b"X-User", b"x" * 101),)), 10)
    assert cache.get(b"g", 0) is None, "what is too large alone is not kept"
    assert cache.get(b"f", 10) is None


def test_the_cache_holds_no_secret() -> None:
    cache = _Cache(3, 100)
    key = cache.key("auth[0]", b"Cookie: secret")
    assert b"secret" not in key and len(key) == 32
    assert key != _Cache(3, 100).key("auth[0]", b"Cookie: secret"), "nor one that can be looked up elsewhere"
    assert key != cache.key("auth[1]", b"Cookie: secret")
