"""``python -m tests.examples.own_network FOLDER BIN``: the example ``seed-script``, whose script has its port in it.

It has to run in a network namespace of its own (``unshare --net``), where no other program has that port. BIN: the
folder with the programs of the report's versions. It prints what the WebSocket and the page say, as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from urllib.request import urlopen

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.examples.example import running_example
from tests.system.deployed import PATH
from tests.system.own_network import raise_loopback


def answers(port: int) -> dict[str, object]:
    """Return what comes over the WebSocket: messages, and the code at the end, or the status of a refusal."""
    messages: list[str] = []
    try:
        with connect(f"ws://127.0.0.1:{port}/ws") as client:
            while True:
                messages.append(str(client.recv(timeout=30)))
    except ConnectionClosed as closed:
        return {"messages": messages, "code": closed.rcvd and closed.rcvd.code}
    except InvalidStatus as refusal:
        return {"status": refusal.response.status_code}


def main(folder: Path, programs: str) -> None:
    raise_loopback()
    env = {"PATH": f"{programs}:{PATH}"}
    ready = {"dash": "Started server process"}
    with running_example("seed-script", folder, ready=ready, env=env) as example:
        page = urlopen(example.url, timeout=30).read().decode()  # it waits until Dash listens
        told = {"gateway": answers(example.ports["GATEWAY_PORT"]), "page": "_dash-config" in page}
        print(json.dumps({**told, "layout": urlopen(f"{example.url}/_dash-layout", timeout=30).read().decode()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
