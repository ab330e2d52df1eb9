"""One client of the hub, byte by byte: what real clients never send."""

from __future__ import annotations

import json
from typing import Any

from tests.system.gateway import Gateway
from tests.system.handoff import code_of, open_socket
from tests.wire.frames import CLOSE, MASK, PONG, TEXT, frame, text_frame

PATH = "/connection/websocket"


class Talk:
    """An open WebSocket to the hub. Messages that come joined are read one by one; pings of the hub are left out."""

    def __init__(self, gateway: Gateway, *fields: str, target: str = PATH) -> None:
        self.wire = open_socket(gateway, target, *fields)
        self._heard: list[Any] = []

    @classmethod
    def connected(cls, gateway: Gateway, token: str = "", *fields: str, target: str = PATH) -> Talk:
        """Open one, and connect. fields: further lines of the handshake."""
        talk = cls(gateway, *fields, target=target)
        assert "connect" in talk.ask({"id": 1, "connect": {"token": token}}), "it is refused"
        return talk

    def say(self, *commands: object) -> None:
        """Send commands in one message; one that is bytes or text goes as it is."""
        lines = [each if isinstance(each, str) else json.dumps(each) for each in commands]
        self.wire.send(text_frame("\n".join(lines), mask=MASK))

    def send(self, opcode: int, payload: bytes, *, rsv: int = 0) -> None:
        """Send a frame."""
        self.wire.send(frame(opcode, payload, mask=MASK, rsv=rsv))

    def ask(self, command: object) -> Any:
        """Send a command and return the next message."""
        self.say(command)
        return self.hear()

    def subscribe(self, topic: str, token: str = "") -> int | None:
        """Subscribe to a topic and return the code of the error; None for none."""
        answer = self.ask({"id": 9, "subscribe": {"channel": topic, "token": token}})
        return answer.get("error", {}).get("code")  # type: ignore[no-any-return]

    def hear(self) -> Any:
        """Return the next message; AssertionError where the connection is closed instead."""
        while not self._heard:
            got = self.wire.read_frame()
            assert got.opcode in (TEXT, PONG), got
            lines = got.payload.decode().split("\n") if got.opcode == TEXT else ()
            self._heard += [message for line in lines if (message := json.loads(line))]
        return self._heard.pop(0)

    def end(self) -> int:
        """Return the code with which the hub closes the connection, whatever it says before."""
        while (got := self.wire.read_frame()).opcode != CLOSE:
            pass
        return code_of(got)
