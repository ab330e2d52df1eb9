"""Uploads of one client: so many at a time, the next ones in order, and nothing left of clients that have none."""

from __future__ import annotations

import asyncio

import pytest

from proxy.errors import TooMany
from proxy.gateway.uploads import Uploads


async def test_so_many_of_a_client_at_a_time_and_others_are_not_concerned() -> None:
    uploads = Uploads()
    first = await uploads.acquire("192.0.2.1", 1, 0)
    other = await uploads.acquire("192.0.2.2", 1, 0)
    loop = asyncio.get_running_loop()
    waiting = [loop.create_task(uploads.acquire("192.0.2.1", 1, 10), name=f"upload {number}") for number in range(2)]
    await asyncio.sleep(0)
    assert (uploads.total, uploads.clients) == (2, 2)
    first.release()
    first.release()  # the second time it is nobody's
    second = await waiting[0]
    assert not waiting[1].done()
    second.release()
    (await waiting[1]).release()
    other.release()
    assert (uploads.total, uploads.clients) == (0, 0)


async def test_one_that_does_not_begin_in_time_is_refused() -> None:
    uploads = Uploads()
    first = await uploads.acquire("192.0.2.1", 1, 0)
    with pytest.raises(TooMany, match="as many request bodies") as caught:
        await uploads.acquire("192.0.2.1", 1, 0.05)
    assert "192.0.2.1 has 1 uploads under way" in caught.value.detail
    assert "gateway.limits.uploads_per_client" in caught.value.detail
    assert caught.value.limit == "uploads_per_client"
    first.release()
    assert uploads.clients == 0


async def test_one_that_is_cancelled_leaves_its_place() -> None:
    uploads = Uploads()
    first = await uploads.acquire("192.0.2.1", 1, 0)
    waiting = asyncio.get_running_loop().create_task(uploads.acquire("192.0.2.1", 1, 10), name="upload")
    await asyncio.sleep(0)
    first.release()  # it is its turn now, and it does not know yet
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert (uploads.total, uploads.clients) == (0, 0)


async def test_another_limit_holds_for_those_that_wait_as_soon_as_one_more_comes() -> None:
    uploads = Uploads()
    first = await uploads.acquire("192.0.2.1", 1, 0)
    waiting = asyncio.get_running_loop().create_task(uploads.acquire("192.0.2.1", 1, 10), name="upload")
    await asyncio.sleep(0)
    third = await uploads.acquire("192.0.2.1", None, 0)
    for upload in (first, await waiting, third):
        upload.release()
    assert uploads.clients == 0


async def test_without_a_limit_nothing_waits() -> None:
    uploads = Uploads()
    taken = [await uploads.acquire("192.0.2.1", None, 0) for _ in range(1000)]
    assert uploads.total == 1000
    for upload in taken:
        upload.release()
    assert uploads.clients == 0
