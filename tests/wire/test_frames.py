"""Frames are read as they were built, and nothing here knows the gateway or the service."""

from __future__ import annotations

import ast
import asyncio
import socket
from pathlib import Path

import pytest

from tests.wire.connection import Wire, read_frame
from tests.wire.frames import MASK, close_frame, frame, text_frame


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
@pytest.mark.parametrize("mask", [b"", MASK])
async def test_a_frame_is_read_as_it_was_built(size: int, mask: bytes) -> None:
    payload = (bytes(range(256)) * (size // 256 + 1))[:size]
    built = frame(0x2, payload, fin=False, rsv=4, mask=mask)
    reader = asyncio.StreamReader()
    reader.feed_data(built)
    with socket.create_server(("127.0.0.1", 0)) as listener, Wire.to(listener.getsockname()[1]) as wire:
        accepted, _ = listener.accept()
        with Wire(accepted) as other:
            other.send_later(built)
            for read in (await read_frame(reader), wire.read_frame()):
                assert (read.opcode, read.payload, read.fin, read.rsv, read.raw) == (0x2, payload, False, 4, built)


def test_what_the_rfc_shows_is_built_byte_by_byte() -> None:
    assert text_frame("Hello") == bytes.fromhex("81 05 48 65 6c 6c 6f")  # RFC 6455, section 5.7
    assert text_frame("Hello", mask=bytes.fromhex("37fa213d")) == bytes.fromhex("81 85 37 fa 21 3d 7f 9f 4d 51 58")
    assert close_frame(1000) == b"\x88\x02\x03\xe8"


@pytest.mark.parametrize("path", sorted(Path(__file__).parent.glob("*.py")), ids=lambda path: path.name)
def test_what_judges_the_gateway_shares_no_code_with_it(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not {name for name in imported if name.partition(".")[0] in ("proxy", "ws_service", "dash_app")}
