"""Whether the tools that look at a stall see one, and send what they say."""

from __future__ import annotations

import asyncio
import os
import ssl
import time

import pytest

from tests.load import gets, holds, inputs, pour
from tests.load.checks import percentile

INPUTS = list(inputs.INPUTS.values())


async def test_a_server_that_stands_still_is_seen_by_every_request_of_that_time() -> None:
    still_until = time.monotonic() + 0.25

    async def ask() -> None:
        await asyncio.sleep(still_until - time.monotonic())

    latencies = await gets.measure([ask, ask], 0.5, 200)
    assert len(latencies) == 100
    slow = [latency for latency in latencies if latency > 0.1]
    assert 20 < len(slow) < 40, "those that were due in the first 0.15 s"
    assert 0.2 < max(latencies) < 0.4


@pytest.mark.parametrize("works", [True, False])
async def test_in_cpu_time_a_server_that_is_busy_is_seen_and_a_machine_that_is_busy_is_not(works: bool) -> None:
    has_stood = False

    async def ask() -> None:
        nonlocal has_stood
        if has_stood:
            return
        has_stood = True
        if works:
            until = time.process_time() + 0.25
            while time.process_time() < until:
                pass
        else:
            time.sleep(0.25)  # the process gets no CPU, as on a machine where others have it  # noqa: ASYNC251

    latencies = await gets.measure([ask, ask], 0.5, 200, os.getpid())
    assert len(latencies) == 100
    assert (max(latencies) > 0.2) == works
    assert (sum(latency > 0.1 for latency in latencies) > 20) == works


async def test_what_is_never_answered_counts_as_long_as_it_has_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gets, "TIMEOUT", 0.1)

    async def ask() -> None:
        await asyncio.Event().wait()

    latencies = await gets.measure([ask], 0.1, 100)
    assert len(latencies) == 10
    assert percentile(latencies, 0.99) > 0.15


async def test_what_fails_is_no_fast_answer() -> None:
    async def ask() -> None:
        raise ConnectionResetError

    assert await gets.measure([ask], 0.05, 100) == [gets.TIMEOUT] * 5


def test_a_rate_is_kept_and_not_caught_up_with() -> None:
    allowance = pour.Allowance(1000.0, None, 60)
    allowance.began = allowance._seen = time.monotonic() - 10
    due = allowance.due()
    assert due == 1000 * pour.SLACK, "ten seconds of silence are no leave for ten seconds' bytes at once"
    allowance.take(due)
    assert allowance.due() < 10


def test_an_amount_ends() -> None:
    allowance = pour.Allowance(None, 10, 60)
    assert allowance.due() == 10
    allowance.take(10)
    assert allowance.is_over


@pytest.mark.parametrize("given", INPUTS, ids=[given.name for given in INPUTS])
def test_an_input_is_within_the_limits_of_a_head(given: inputs.Input) -> None:
    """What is refused at once for its size would show nothing."""
    for head in (given.opening, given.unit):
        if b" HTTP/1.1\r\n" in head:
            line, _, fields = head.partition(b"\r\n\r\n")[0].partition(b"\r\n")
            assert len(line) <= 16384
            assert len(fields) <= 65536
            assert fields.count(b"\r\n") < 128


def test_the_unfinished_hello_is_one_that_would_be_read_on() -> None:
    """Fed to the real thing, it is neither refused nor answered: more is waited for."""
    for hello in (holds._hello(15000), holds._hello(130000)):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        coming, going = ssl.MemoryBIO(), ssl.MemoryBIO()
        server = context.wrap_bio(coming, going, server_side=True)
        coming.write(hello)
        with pytest.raises(ssl.SSLWantReadError):
            server.do_handshake()
        assert not going.pending
