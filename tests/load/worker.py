"""A process beside the one that measures: told things in lines, answers in lines."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from benchmarks.processes import Failed
from tests.processes import ROOT

MOST = 1 << 24
"""Bytes of a line: latencies are one, and longer than asyncio expects."""

READY = b"ready\n"


class Worker:
    """A module that runs in a process of its own, is told things in lines, and answers with lines of JSON."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, module: str, *words: str) -> Worker:
        """Start it."""
        pipe = asyncio.subprocess.PIPE
        argv = (sys.executable, "-m", module, *words)
        return cls(await asyncio.create_subprocess_exec(*argv, cwd=ROOT, stdin=pipe, stdout=pipe, limit=MOST))

    async def ready(self, timeout: float) -> None:
        """Wait until it says so. Raises Failed."""
        if await self._line(timeout) != READY:
            raise Failed("a client did not come in; see above")

    def say(self, line: str) -> None:
        """Tell it something."""
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")

    async def hear(self, timeout: float) -> Any:
        """Return what it answers; that it is ready is none. Raises Failed."""
        while (line := await self._line(timeout)) == READY:
            pass
        return json.loads(line)

    async def end(self) -> None:
        """Let it go: its input ends, and it is killed if that is not enough."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(2):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def _line(self, timeout: float) -> bytes:
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(timeout):
                line = await self._process.stdout.readline()
        except TimeoutError:
            raise Failed(f"a process said nothing for {timeout:g} s") from None
        if not line:
            raise Failed("a process has ended; see above")
        return line
