"""What signals do, in the test's own loop; ``tests/system`` has the whole process."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from proxy.config import ConfigError, Settings
from proxy.net.tls_files import TlsFiles
from proxy.server.run import Read, serve
from tests.processes import free_port
from ws_service.errors import Mistake


def settings(**values: object) -> Settings:
    address = {"listen": f"127.0.0.1:{free_port()}", "admin": f"127.0.0.1:{free_port()}"}
    quiet = {"handoff": "off", "access_log": "off", "health": {"interval": 0}}
    return Settings.model_validate({**address, **quiet, **values})


class Log(logging.Handler):
    """The lines of the gateway's log, and a way to wait for one."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self._changed = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
        self._changed.set()

    async def has(self, begin: str, count: int = 1) -> None:
        """Wait until so many lines begin like that."""
        async with asyncio.timeout(10):
            while sum(line.startswith(begin) for line in self.lines) < count:
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def running(first: Settings, read_again: Callable[[], Read] | None = None) -> AsyncIterator[Log]:
    """A gateway that runs until a signal stops it."""
    log, logger = Log(), logging.getLogger("proxy")
    before = logger.level
    logger.addHandler(log)
    logger.setLevel(logging.INFO)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    process = asyncio.get_running_loop().create_task(serve(first, read_again=read_again), name="the gateway")
    try:
        await log.has("gateway ready on ")
        yield log
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(10):
            await process
        assert log.lines[-1] == "stopped"
    finally:
        if not process.done():
            process.cancel()
            await asyncio.wait([process])
        for number, handler in handlers.items():
            asyncio.get_running_loop().remove_signal_handler(number)
            signal.signal(number, handler)
        logger.removeHandler(log)
        logger.setLevel(before)


def hang_up() -> None:
    os.kill(os.getpid(), signal.SIGHUP)


async def test_sigterm_stops_it_and_the_log_says_so() -> None:
    async with running(settings()) as log:
        pass
    assert "stopping; a second signal stops at once" in log.lines


async def test_a_second_signal_skips_the_drain() -> None:
    async with running(settings(timeouts={"drain_notice": "60s", "drain": "60s"})) as log:
        os.kill(os.getpid(), signal.SIGTERM)
        await log.has("stopping")
    assert "a second signal: stopping at once" in log.lines


async def test_sighup_reads_the_configuration_again() -> None:
    first = settings()
    read = [first, first.model_copy(update={"buffer": 4096})]
    async with running(first, lambda: (read.pop(0), TlsFiles())) as log:
        for count in (1, 2):
            hang_up()
            await log.has("the configuration was read again", count)
        assert log.lines[-3:] == [
            "the configuration was read again; nothing changed",
            "the configuration was read again; 1 changed",
            "changed: gateway.buffer: 16KiB -> 4KiB",
        ]


async def test_a_configuration_that_cannot_be_used_is_told_and_the_one_before_stays_in_force() -> None:
    def refuse() -> Read:
        raise ConfigError("config.yaml", [Mistake("is too much", "gateway.buffer", 3)])

    async with running(settings(), refuse) as log:
        hang_up()
        await log.has("config.yaml:3: gateway.buffer: is too much")
        assert "stays in force" in log.lines[-1]


async def test_without_a_file_there_is_nothing_to_read_and_while_it_stops_none_is_read() -> None:
    async with running(settings(timeouts={"drain_notice": "60s"})) as log:
        hang_up()
        await log.has("SIGHUP is ignored: there is no config file")
        os.kill(os.getpid(), signal.SIGTERM)
        await log.has("stopping")
        hang_up()
        await log.has("SIGHUP is ignored: the gateway is giving notice")


@pytest.mark.parametrize("listen", ["tcp", "unix"])
async def test_only_an_address_that_a_browser_opens_is_offered_to_one(listen: str, tmp_path: object) -> None:
    values = {} if listen == "tcp" else {"listen": f"unix:{tmp_path}/gateway.sock"}
    async with running(settings(**values)) as log:
        (line,) = (line for line in log.lines if line.startswith("gateway ready on "))
        assert line.endswith(" (open it in a browser)") == (listen == "tcp")
