"""One address of an upstream: what is counted for it, when it is doubted, and when it is gone."""

from __future__ import annotations

from proxy.config import Settings, UpstreamAddress
from proxy.upstream.upstream import Upstream
from tests.processes import free_port
from tests.proxy.origin import answering, origin
from tests.proxy.upstream.test_connection import OK, upstream, upstream_settings


async def test_the_only_address_is_never_doubted_because_there_is_no_other_to_ask() -> None:
    async with origin(answering(OK)) as server:
        up = upstream(server.url)
        (address,) = up.addresses
        address.doubt()
        assert address.is_good


async def test_an_address_that_has_gone_ends_with_its_last_connection() -> None:
    async with origin(answering(OK)) as server:
        up = upstream(server.url)
        (address,) = up.addresses
        connection = await up.acquire(Settings().timeouts)
        up.reconfigure([UpstreamAddress(url=f"http://127.0.0.1:{free_port()}")], upstream_settings(), None)
        assert not address.has_ended
        assert up.queue.in_flight == 1, "it is still on its way"
        up.discard(connection)
        assert address.has_ended


async def test_each_address_is_named_in_the_log_where_there_are_several() -> None:
    urls = [f"http://127.0.0.1:{free_port()}" for _ in range(2)]
    up = Upstream("ws", [UpstreamAddress(url=url) for url in urls], upstream_settings())
    assert [address.health.name for address in up.addresses] == [f"ws at {url}" for url in urls]
    up.reconfigure([UpstreamAddress(url=urls[1])], upstream_settings(), None)
    assert [address.health.name for address in up.addresses] == ["ws"]
