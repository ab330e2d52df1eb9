"""A call in a child process of its own, for what the user's code must not do to this one.

An import runs the user's code, which may print, wait, listen or end the process.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

DEADLINE = 60.0
"""Seconds for a call. Large libraries take 10 s to import from a cold disk; systemd gives a start 90 s."""

LONGEST = 8192
"""Characters of an answer, which must fit into a pipe."""

_LAST_LINES = 12
"""Lines of what the child has printed that are kept when it ended without an answer."""

_CHILD = (
    "import json, sys; path, *call = json.loads(sys.argv[1]); sys.path[:] = path; del sys.argv[1:]; "
    "from ws_service.hosting.child import reply; reply(*call)"
)


@dataclass(frozen=True)
class Answer:
    """How a call has ended.

    failure: None when the function has returned, else what the process did: "ended the process with exit code 7".
    value: what the function has returned. printed: the last lines of a process that failed.
    """

    failure: str | None
    value: Any = None
    printed: tuple[str, ...] = ()


def call(function: str, *arguments: str, deadline: float = DEADLINE) -> Answer:
    """Call a function in a child process, which has this one's ``sys.path``, working directory and environment.

    function: ``module:name``; what it returns must be JSON of at most ``LONGEST`` characters.
    deadline: in seconds, after which the process is ended, with all that it has started.
    """
    reader, writer = os.pipe()
    with tempfile.TemporaryFile() as printed, os.fdopen(reader, "rb") as result:
        try:
            process = subprocess.Popen(
                [sys.executable, "-c", _CHILD, json.dumps([sys.path, writer, function, *arguments])],
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.STDOUT,
                pass_fds=(writer,),
                start_new_session=True,  # for killpg: what the module starts ends with it
            )
        finally:
            os.close(writer)
        is_late = False
        try:
            process.wait(deadline)
        except subprocess.TimeoutExpired:
            is_late = True
        finally:
            _end(process)
        os.set_blocking(reader, False)  # processes of the module may hold the other end open; the answer is complete
        answer = result.read()
        if answer and not is_late:
            with suppress(ValueError):  # the module has written there too: it forked, or wrote to every descriptor
                return Answer(None, json.loads(answer))
        printed.seek(max(0, printed.seek(0, os.SEEK_END) - LONGEST))
        last = printed.read(LONGEST).decode("utf-8", "replace").splitlines()[-_LAST_LINES:]
        how = f"with exit code {process.returncode}" if process.returncode >= 0 else f"by signal {-process.returncode}"
        return Answer(f"has not ended within {deadline:g} s" if is_late else f"ended the process {how}", None, (*last,))


def reply(descriptor: int, function: str, *arguments: str) -> None:
    """Call the function in the child process, write what it returns to a descriptor, and end the process."""
    module, _, name = function.partition(":")
    value = getattr(importlib.import_module(module), name)(*arguments)
    os.write(descriptor, json.dumps(value).encode())
    os._exit(0)  # threads of the module would keep the process alive


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
