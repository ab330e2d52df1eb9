"""Asking the services: with the key, within a time, and never more than is needed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from proxy.status import service
from proxy.status.query import Query
from proxy.status.service import NoKey, ServiceReader
from tests.processes import free_port

KEY = "k" * 40
EMPTY = '{"topics": {"total": 0, "rows": []}, "sockets": {"total": 3, "rows": []}}'


class Fake:
    """A service. seen: the requests that it got. answer: status and text; None: it never answers."""

    def __init__(self) -> None:
        self.seen: list[web.BaseRequest] = []
        self.answer: tuple[int, str] | None = None
        self.never = asyncio.Event()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.seen.append(request)
        if self.answer is None:
            await self.never.wait()
        status, text = self.answer or (500, "")
        return web.Response(status=status, text=text)


@asynccontextmanager
async def serving(fake: Fake, path: Path | None = None) -> AsyncIterator[str]:
    runner = web.ServerRunner(web.Server(fake.handle))
    await runner.setup()
    site: web.BaseSite
    if path is None:
        site = web.TCPSite(runner, "127.0.0.1", 0)
    else:
        site = web.UnixSite(runner, str(path))
    await site.start()
    try:
        yield f"unix:{path}" if path else f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        fake.never.set()
        await runner.cleanup()


def reader() -> ServiceReader:
    return ServiceReader(lambda: KEY)


def no_key() -> str:
    raise NoKey("there is no key file run/hub.key")


@pytest.mark.parametrize("is_unix", [False, True])
async def test_it_is_asked_for_what_the_page_shows_with_the_key(tmp_path: Path, is_unix: bool) -> None:
    fake = Fake()
    fake.answer = (200, EMPTY)
    async with serving(fake, tmp_path / "s" if is_unix else None) as url:
        (status,) = await reader().read((url,), Query("sent", 7), None)
    assert (status.url, status.problem) == (url, "")
    assert status.answer is not None
    assert status.answer.sockets.total == 3
    (request,) = fake.seen
    assert request.path_qs == "/api/status?sockets=50&topics=20&sort=sent"
    assert request.headers["X-API-Key"] == KEY


async def test_where_text_is_looked_for_more_sockets_are_asked_for() -> None:
    fake = Fake()
    fake.answer = (200, EMPTY)
    async with serving(fake) as url:
        await reader().read((url,), Query(find="x"), None)
    assert fake.seen[0].query["sockets"] == "500"


async def test_pages_that_ask_the_same_cost_one_question() -> None:
    fake = Fake()
    fake.answer = (200, EMPTY)
    one = reader()
    async with serving(fake) as url:
        await asyncio.gather(*(one.read((url,), Query(), None) for _ in range(5)))
        await one.read((url,), Query(limit=1), None)
        assert len(fake.seen) == 1
        await one.read((url,), Query(limit=51), None)
        assert len(fake.seen) == 2


async def test_many_that_look_for_text_cost_one_question() -> None:
    fake = Fake()
    fake.answer = (200, EMPTY)
    one = reader()
    async with serving(fake) as url:
        await asyncio.gather(*(one.read((url,), Query(find=str(number)), None) for number in range(5)))
    assert len(fake.seen) == 1


async def test_pages_that_ask_otherwise_do_not_wait_for_a_service_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "TIMEOUT", 0.3)
    fake, one = Fake(), reader()
    queries = Query(), Query("newest"), Query("sent"), Query(limit=500)
    async with serving(fake) as url, asyncio.timeout(0.75):
        found = await asyncio.gather(*(one.read((url,), query, None) for query in queries))
    assert [status.problem for (status,) in found] == ["it did not answer within 0.3 s"] * 4


async def test_pages_that_ask_otherwise_are_told_the_same_where_there_is_no_key() -> None:
    one = ServiceReader(no_key)
    queries = Query("newest"), Query("sent")
    found = await asyncio.gather(*(one.read(("http://127.0.0.1:1",), query, None) for query in queries))
    assert [status.problem for (status,) in found] == ["there is no key file run/hub.key"] * 2


@pytest.mark.parametrize("row", ["{}", "1", '{"path": "/", "way": "handoff", "age": 1}'])
async def test_an_answer_of_a_million_rows_is_refused_in_a_moment(row: str) -> None:
    fake = Fake()
    rows = ", ".join([row] * (900_000 // (len(row) + 2)))
    fake.answer = (200, EMPTY.replace('"total": 3, "rows": []', f'"total": 3, "rows": [{rows}]'))
    async with serving(fake) as url:
        before = time.process_time()
        (status,) = await reader().read((url,), Query(), None)
    assert "sockets.rows" in status.problem
    assert time.process_time() - before < 1, "it took 7 s"


async def test_each_of_several_services_is_asked_and_one_that_is_gone_does_not_hide_the_others() -> None:
    fake = Fake()
    fake.answer = (200, EMPTY)
    gone = f"http://127.0.0.1:{free_port()}"
    async with serving(fake) as url:
        first, second = await reader().read((gone, url), Query(), None)
    assert first.answer is None
    assert "cannot be asked" in first.problem
    assert second.answer is not None


async def test_without_a_key_nothing_is_asked_and_the_key_is_not_looked_for_each_time() -> None:
    fake, sought = Fake(), []

    def find() -> str:
        sought.append(1)
        return no_key()

    one = ServiceReader(find)
    async with serving(fake) as url:
        for limit in range(3):
            (status,) = await one.read((url,), Query(limit=limit), None)
            assert status.problem == "there is no key file run/hub.key"
    assert (len(fake.seen), len(sought)) == (0, 1)


async def test_a_service_that_refuses_the_key_does_not_hide_the_others() -> None:
    good, refusing = Fake(), Fake()
    good.answer, refusing.answer = (200, EMPTY), (401, "")
    one = reader()
    async with serving(refusing) as first, serving(good) as second:
        for query in (Query(), Query("sent")):
            refused, told = await one.read((first, second), query, None)
            assert refused.problem == "the service has another key than this gateway"
            assert told.answer is not None


async def test_a_key_that_is_refused_is_looked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "_KEY_AGAIN", 0.0)
    fake, keys = Fake(), iter(["old" * 20, KEY])
    fake.answer = (401, "")
    one = ServiceReader(lambda: next(keys))
    async with serving(fake) as url:
        (status,) = await one.read((url,), Query(), None)
        assert status.problem == "the service has another key than this gateway"
        fake.answer = (200, EMPTY)
        (status,) = await one.read((url,), Query(limit=51), None)
    assert status.problem == ""


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ((404, ""), "it answered 404, which no dash-ws-service of this version does"),
        ((200, "<html>"), "its answer cannot be read"),
        ((200, "[]"), "its answer cannot be read"),
        ((200, '{"topics": {}}'), "its answer cannot be read: topics.total"),
        ((200, "x" * (5 << 20)), "its answer is too long"),
    ],
)
async def test_an_answer_of_another_kind_is_said(answer: tuple[int, str], problem: str) -> None:
    fake = Fake()
    fake.answer = answer
    async with serving(fake) as url:
        (status,) = await reader().read((url,), Query(), None)
    assert status.answer is None
    assert problem in status.problem


async def test_one_that_hangs_holds_the_page_up_for_a_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "TIMEOUT", 0.1)
    async with serving(Fake()) as url:
        (status,) = await reader().read((url,), Query(), None)
    assert status.problem == "it did not answer within 0.1 s"
