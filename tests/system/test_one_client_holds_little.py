"""What one client can make each process hold is a number (issue 9: A3, A6, A7, A14, A15), in small.

The rows are those of ``make load ARGS=hold``, which has as many connections as one address may have by default. Here
are fewer of each. What each connection has for itself is counted for all that there might be; what is bounded for the
client as a whole is looked at as it is, with so many connections that the bound is reached. Every row has processes of
its own, because memory that was given back once would be used again without being seen.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.load.hold import MOST, Held, hold_one
from tests.load.holds import KINDS

ALL = 1000
"""Connections, and WebSockets, that one client may have by default."""

EACH = {
    "half heads of 80 KB": 100,
    "TLS hellos of 15 KB, unfinished": 100,
    "handed over: idle with deflate": 100,
    "handed over: unread pongs": 20,
}
"""Of each kind so many connections, each of which has a bound of its own."""

TOGETHER = {
    "unread downloads": 1000,
    "unread downloads over TLS": 400,
    "unread answers: 200": 50,
    "unread answers: 429": 50,
    "unread answers: 503": 50,
    "long bodies that Dash does not read": 500,
    "long chunked bodies that Dash does not read": 700,
    "requests after one that Dash does not answer": 700,
    "requests of 80 KB held for Dash": 600,
    "handed over: handshakes that are not accepted": 600,
    "handed over: unfinished messages of 30 MiB, deflated": 40,
    "handed over: unfinished messages of 30 MiB": 300,
    "handed over: messages that the endpoint does not receive": 100,
    "handed over: the same, deflated": 100,
    "handed over: unread messages of the endpoint": 100,
    "the hub: unread histories": 300,
}
"""So many that they are beyond the bound, or would be soon, where each holds what it can."""

LARGE = {
    "silent connections",
    "half bodies of 100 bytes",
    "half bodies of 64 KiB",
    "tunnels whose client does not read",
    "tunnels whose upstream does not read",
    "half chunked bodies",
    "unread answers: 403",
    "requests of 80 KB that Dash does not answer",
    "lines of 16 KB for a log that is not read",
    "TLS hellos of 130 KB, unfinished",
    "TLS hellos in records of 1 byte, unfinished",
    "silent after a TLS handshake",
    "silent connections to the admin port",
    "half heads to the admin port",
    "silent connections to the service's port",
    "half heads to the service's port",
    "the hub: 128 topics",
    "the hub: unread publications",
    "the hub: unfinished commands",
}
"""What ``make load`` alone has: each is like one of those above, or costs descriptors rather than memory, or takes a
thousand handshakes at the pace of one client."""


ONCE = 4.0
"""MiB that a process makes once when it is used at all, whatever the number of connections: the log's queue is one."""


async def held_by(folder: Path, name: str, count: int) -> Held:
    """Return what is held once nothing grows any more; a row that is beyond its bound is not waited for."""
    return await hold_one(
        folder, name, {name: count}, after=0, seconds=0.5, quiet=0.5, longest=6, enough=MOST + 50, pace=0
    )


@pytest.mark.parametrize("name", EACH)
async def test_a_connection_holds_no_more_than_its_share(tmp_path: Path, name: str) -> None:
    held = await held_by(tmp_path, name, EACH[name])
    assert held.seen["refused"] < EACH[name] / 2, f"the row shows nothing: {held}"
    for process in held.base:
        share = max(0.0, held.worst[process] - held.base[process] - ONCE) / EACH[name]
        assert held.base[process] + ONCE + share * ALL < MOST, f"{share * 1024:.0f} KiB each: {held}"


@pytest.mark.parametrize("name", TOGETHER)
async def test_what_one_client_has_in_common_is_bounded(tmp_path: Path, name: str) -> None:
    held = await held_by(tmp_path, name, TOGETHER[name])
    for process in held.base:
        assert held.worst[process] < MOST, held


def test_every_kind_is_here_or_is_left_to_the_large_trial() -> None:
    assert {*EACH, *TOGETHER, *LARGE} == set(KINDS)
    assert len(EACH) + len(TOGETHER) + len(LARGE) == len(KINDS)
