"""A publication as it is written to many connections: each form is made once, when the first connection needs it."""

from __future__ import annotations

from functools import cached_property

from ws_service.hub.messages import content_of
from ws_service.hub.topics import SlowPolicy
from ws_service.websocket.frame_format import text_frame


class Encoded:
    """One publication of a topic, encoded.

    push: the message of the protocol, JSON without a line end. data: the publication's own JSON.
    offset: of the publication, 0 for none. policy: what happens at a connection that does not read. epoch: of the
    offset.
    """

    def __init__(self, topic: str, push: bytes, data: bytes, offset: int, policy: SlowPolicy, epoch: str = "") -> None:
        self.topic = topic
        self.push = push
        self.data = data
        self.offset = offset
        self.policy = policy
        self.epoch = epoch

    @cached_property
    def frame(self) -> bytes:
        """The push as a WebSocket frame; frames of a server are unmasked, so one is right for all."""
        return text_frame(self.push)

    @cached_property
    def raw_frame(self) -> bytes:
        """The data alone as a WebSocket frame."""
        return text_frame(self.data)

    @cached_property
    def event(self) -> bytes:
        """The push as a server-sent event of Centrifugo: without the object around it."""
        return b"data: " + content_of(self.push) + b"\n\n"

    @cached_property
    def raw_event(self) -> bytes:
        """The data alone as a server-sent event."""
        return b"data: " + self.data + b"\n\n"
