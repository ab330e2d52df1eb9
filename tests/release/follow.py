"""``python -m tests.release.follow FOLDER COMMAND ...``: each command in a terminal of its own, all at once.

It has to run in namespaces of its own: of the network, where no other program has the ports that the README names, and
of processes, where it is the first one. Prints what a visitor of the gateway's port gets, as JSON, and what the
commands have printed. Ends when all that they have started has ended.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import urljoin
from urllib.request import urlopen

from websockets.sync.client import connect

from tests.processes import Process
from tests.system.own_network import raise_loopback

PAGE = "http://127.0.0.1:8000/"

STATUS = "http://127.0.0.1:8001/status"

READY = r"gateway ready on"
"""The gateway's line when it takes requests; they wait for Dash, and handshakes for the service."""


def visit() -> dict[str, object]:
    """Open the page as a browser does, its scripts too, then the status page and the WebSocket ``/ws``."""
    html = urlopen(PAGE).read().decode()
    scripts = re.findall(r'<script src="([^"]+)"', html)
    answers = {path.partition("?")[0]: _status(urljoin(PAGE, path)) for path in scripts}
    return {"page": html, "scripts": answers, "status": _status(STATUS), "ws": _first_message()}


def _status(url: str) -> int:
    with urlopen(url) as response:
        response.read()
        return int(response.status)


def _first_message() -> str:
    try:
        with connect("ws://127.0.0.1:8000/ws", open_timeout=10) as socket:
            return str(socket.recv(5))
    except Exception as error:
        return repr(error)


def wait_for_all() -> None:
    """Wait until nothing that was started is left: the first process of a namespace becomes the parent of the rest."""
    with suppress(ChildProcessError):
        while True:
            os.wait()


def main(folder: Path, commands: Sequence[str]) -> None:
    raise_loopback()
    began = time.monotonic()
    with ExitStack() as stack:
        processes = {}
        for command in commands:
            processes[command] = process = Process(shlex.split(command), cwd=folder, env={"PYTHONPATH": ""})
            stack.callback(process.stop, signal.SIGKILL)
        gateway = next(
            process for command, process in processes.items() if re.match("make|honcho|dash-ws-proxy", command)
        )
        gateway.wait_for(READY)
        told = visit()
        seconds = time.monotonic() - began
        outputs = {command: process.output for command, process in processes.items()}
        for command, process in processes.items():
            if command.startswith("make"):
                os.killpg(process.pid, signal.SIGHUP)  # its terminal is closed
            else:
                process.stop(signal.SIGINT)  # Ctrl-C goes to all processes of a terminal
        wait_for_all()
    print(json.dumps({**told, "seconds": round(seconds, 1), "outputs": outputs}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
