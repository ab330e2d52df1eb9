"""What is made ready in uvicorn's two WebSocket protocols, and that the library's own limits are out of the way."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import pytest

from tests.ws_service.adopting import head, parts
from ws_service.websocket import library
from ws_service.websocket.library import MAX_FIELDS, MAX_HEAD, lent_state, library_class, prepare, why_too_large

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

ASK = "import ws_service.{}; from websockets import http11; print(http11.MAX_LINE_LENGTH, http11.MAX_NUM_HEADERS)"


@pytest.mark.system
@pytest.mark.parametrize("module", ["__main__", "app", "websocket.connection", "workers"])
def test_whatever_is_imported_first_the_librarys_limits_are_above_ours(module: str) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("WEBSOCKETS_")}  # ours are set here
    ask = [sys.executable, "-c", ASK.format(module)]
    said = subprocess.run(ask, capture_output=True, text=True, check=True, env=env).stdout
    line, fields = map(int, said.split())
    assert line > MAX_HEAD
    assert fields > MAX_FIELDS


def test_what_is_too_large_is_said_with_its_limit() -> None:
    assert why_too_large(head("/x", *["X: y"] * (MAX_FIELDS - 5))) is None
    assert why_too_large(head("/x", *["X: y"] * (MAX_FIELDS - 4))) == "it has more than 4096 fields"
    assert (
        why_too_large(
            head("/x", "Sec-WebSocket-Extensions: x" + "; y" * 500, "Sec-WebSocket-Protocol: a" + ", b" * 500)
        )
        is None
    )
    assert why_too_large(
        head("/x", "sec-websocket-extensions: x" + "; y" * 501, "Sec-WebSocket-Protocol: a" + ", b" * 500)
    ) == ("it offers more than 1000 extensions, parameters and subprotocols")
    assert why_too_large(head("/x", "Cookie: a=b" + "; c=d" * 5000)) is None
    assert why_too_large(b"x" * MAX_HEAD) is None
    assert why_too_large(b"x" * (MAX_HEAD + 1)) == "its head is larger than 1024 KiB"


async def test_lines_of_a_head_may_be_longer_than_what_the_older_protocol_holds_of_messages() -> None:
    made_of = parts(ws="websockets")
    made = library_class(made_of["config"])(
        config=made_of["config"], server_state=lent_state(made_of["server_state"]), app_state={}
    )
    prepare(made)
    limit = made.read_limit // 2
    library.feed_head(made, b"GET /" + b"x" * limit + b" HTTP/1.1\r\n\r\n")
    assert len(await made.reader.readline()) > limit
    assert await made.reader.readline() == b"\r\n"
    made.reader.feed_data(b"x" * limit + b"x\n")
    with pytest.raises(ValueError, match="limit"):
        await made.reader.readline()
    assert isinstance(made.reader, asyncio.StreamReader)
