"""What the library may do with the transport that it is lent."""

from __future__ import annotations

import asyncio

import pytest

from tests.ws_service.adopting import both_loops as both_loops
from tests.ws_service.websocket.connections import App, connected
from ws_service.websocket import lent_transport, sweep

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "PERIOD", 0.05)


async def test_the_lent_transport_is_the_clients_but_for_its_protocol() -> None:
    async with connected(App()) as rig:
        await rig.peer.head()
        lent = rig.connection._lent
        assert lent.get_protocol() is rig.connection
        assert lent.get_extra_info("peername") is not None
        lent.set_write_buffer_limits(high=1 << 30)
        assert lent.get_write_buffer_limits()[1] == lent_transport.WRITE_MARK
        assert lent.is_reading()
        lent.pause_reading()
        assert not lent.is_reading()
        lent.resume_reading()
        lent.writelines([b"\x8a\x00", b"\x8a\x00"])
        assert [await rig.peer.frame() for _ in range(2)] == [(10, b"")] * 2
        assert lent.can_write_eof()
        with pytest.raises(RuntimeError):
            lent.set_protocol(asyncio.Protocol())
