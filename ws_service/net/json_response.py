"""The service's own JSON responses, for an app (ASGI) and for a socket that has no app yet."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

Fields = list[tuple[bytes, bytes]]
Send = Callable[[Any], Awaitable[None]]


def json_response(content: Mapping[str, Any]) -> tuple[Fields, bytes]:
    """Return the header fields, with lower-case names as ASGI wants them, and the body."""
    body = json.dumps(content).encode()
    return [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ], body


def error_content(status: int, message: str) -> dict[str, str]:
    """Return what an error says: its phrase for programs, and a message for people."""
    return {"error": HTTPStatus(status).phrase.lower(), "message": message}


async def answer(send: Send, status: int, content: Mapping[str, Any], *more: tuple[bytes, bytes]) -> None:
    """Answer a request with JSON (ASGI). more: further header fields. To a HEAD, uvicorn sends the head alone."""
    fields, body = json_response(content)
    await send({"type": "http.response.start", "status": status, "headers": [*fields, *more]})
    await send({"type": "http.response.body", "body": body})


async def answer_error(send: Send, status: int, message: str, *more: tuple[bytes, bytes]) -> None:
    """Answer a request with an error in JSON (ASGI). message: why. more: further header fields."""
    await answer(send, status, error_content(status, message), *more)


def raw_error(status: int, message: str) -> bytes:
    """Return a whole HTTP/1.1 response that ends its connection."""
    fields, body = json_response(error_content(status, message))
    fields.append((b"connection", b"close"))
    lines = [b"HTTP/1.1 %d %s" % (status, HTTPStatus(status).phrase.encode())]
    lines += [name.title() + b": " + value for name, value in fields]
    return b"\r\n".join([*lines, b"", body])
