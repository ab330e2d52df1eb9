from __future__ import annotations

from ws_service.hub.handshake import Handshake


def test_the_first_field_of_a_name_counts() -> None:
    handshake = Handshake("10.0.0.1", fields=((b"host", b"a"), (b"x-user", b"ada"), (b"x-user", b"bob")))
    assert handshake.field("X-User") == "ada"
    assert handshake.field("cookie") is None
