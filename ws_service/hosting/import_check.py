"""Whether the app that ``ws_service.app`` names can be served: it is imported as in the service, in a child process.

An import runs the user's code, which may print, wait, listen or end the process. None of that may happen in ``check``.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

DEADLINE = 60.0
"""Seconds for the import. Large libraries take 10 s on a cold disk; systemd gives a start 90 s."""

_LAST_LINES = 12
"""Lines of what the module has printed that are shown when its process ended without an answer."""

_LONGEST = 8192
"""Characters of an answer, which must fit into a pipe."""

_CHILD = (
    "import json, sys; path, name, folder, descriptor = json.loads(sys.argv[1]); sys.path[:] = path; del sys.argv[1:]; "
    "from ws_service.hosting.import_check import run; run(name, folder, descriptor)"
)


def problem(name: str, folder: Path, deadline: float = DEADLINE) -> str | None:
    """Import ``module:attr``; return what is wrong with it, as the service would say it, or None.

    name: the checked value of ``ws_service.app``. folder: where the module is looked for first.
    deadline: in seconds, after which the process is ended.
    """
    reader, writer = os.pipe()
    with tempfile.TemporaryFile() as printed, os.fdopen(reader, "rb") as result:
        try:
            argument = json.dumps([sys.path, name, str(folder), writer])
            process = subprocess.Popen(
                [sys.executable, "-c", _CHILD, argument],
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
            found: str | None = json.loads(answer)
            return found
        printed.seek(max(0, printed.seek(0, os.SEEK_END) - _LONGEST))
        last = printed.read(_LONGEST).decode("utf-8", "replace").splitlines()[-_LAST_LINES:]
        how = f"with exit code {process.returncode}" if process.returncode >= 0 else f"by signal {-process.returncode}"
        what = f"has not ended within {deadline:g} s" if is_late else f"ended the process {how}"
        advice = 'put what waits, serves or ends the program under if __name__ == "__main__":'
        return "\n".join([f"is {name}, but importing it {what}; {advice}", *last])


def run(name: str, folder: str, descriptor: int) -> None:
    """Import the app in the child process, and write the answer to a descriptor."""
    from ws_service.errors import AppError
    from ws_service.hosting import loader  # here: the parent process needs no FastAPI

    answer = None
    try:
        loader.load(name, Path(folder))
    except AppError as error:
        answer = loader.explain(error).removeprefix("ws_service.app ")[:_LONGEST]
    os.write(descriptor, json.dumps(answer).encode())
    os._exit(0)  # threads of the module would keep the process alive


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
