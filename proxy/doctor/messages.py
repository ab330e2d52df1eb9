"""The area ``messages``: whether what a WebSocket carries arrives as it does without proxies.

Compression, subprotocol, a large message, the code of a close. Each is tried where browsers connect, and compared with
the same at the program itself, so that what an endpoint does not have is no finding. Tried are the hub's socket, Dash's
own, and the path that ``--echo`` names.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp

from proxy.doctor.dash_prefix import requested_prefix
from proxy.doctor.dash_socket import path_of
from proxy.doctor.endpoint import Endpoint
from proxy.doctor.finding import Finding
from proxy.doctor.probe import Outcome, Skipped
from proxy.doctor.sockets import HUB, prefix_of
from proxy.doctor.target import Target, why_refused

SIZE = 5_000_000
"""Bytes of the large message. Precedents of limits: 4 MiB of aiohttp's client, 1 MiB of websockets."""

_MOST = 8 << 20
"""Bytes of a message that is taken back."""

_ANSWER = 20.0
"""Seconds to an answer."""

HUB_PROTOCOL = "centrifuge-json"
"""What clients of the hub may offer, and the hub chooses (``ws_service/hub/incoming.py``)."""

_WINDOW = 15
"""Bits of permessage-deflate, the default of RFC 7692, section 7.1.2."""


@dataclass(frozen=True)
class _Socket:
    """A WebSocket that is tried.

    kind: ``hub``, ``dash`` or ``echo``. path: where browsers connect. program: what serves it, without the gateway.
    protocols: to offer.
    """

    kind: str
    path: str
    program: Endpoint
    protocols: tuple[str, ...] = ()


async def probe(target: Target) -> Outcome:
    """Compare each socket with itself."""
    endpoint = target.browser_endpoint
    outcome, seen, is_large_tried = Outcome(), [], False
    async for socket in _sockets(target):
        if not await _negotiated(target, endpoint, socket, outcome):
            continue
        seen.append(socket.path)
        if socket.kind == "hub":
            outcome.findings += await _close_code(target, endpoint, socket)
        elif not is_large_tried:
            is_large_tried = True
            outcome.findings += await _large(target, endpoint, socket)
    if not seen:
        raise Skipped(f"no WebSocket opens that could be compared: {why_refused(403)}")
    what = "as without proxies" if not outcome.findings else "not as without proxies"
    large = "" if is_large_tried else "; no endpoint for a large message, --echo PATH names one"
    outcome.seen = f"{' and '.join(seen)}: {what}{large}"
    return outcome


async def _sockets(target: Target) -> AsyncIterator[_Socket]:
    if target.echo is not None:
        for program in (target.ws, target.dash):
            if program in target.reachable and (await _open(target, program, target.echo)):
                yield _Socket("echo", target.echo, program)
                break
    if target.has_hub and target.ws in target.reachable:
        yield _Socket("hub", await prefix_of(target) + HUB, target.ws, (HUB_PROTOCOL,))
    try:
        config = await target.dash_config()
    except Skipped:
        return
    if config.websocket is not None:
        yield _Socket("dash", path_of(config.websocket, requested_prefix(config)), target.dash)


async def _open(target: Target, endpoint: Endpoint, path: str) -> bool:
    return (await endpoint.handshake(path, origin=target.own_origin(endpoint))).is_open


async def _negotiated(target: Target, endpoint: Endpoint, socket: _Socket, outcome: Outcome) -> bool:
    """Compare what both handshakes agree on. False: one of them does not open."""
    here = await _agreed(endpoint, target.own_origin(endpoint), socket)
    there = await _agreed(socket.program, socket.program.origin, socket)
    if here is None or there is None:
        return False
    if here[0] != there[0]:
        what = "compresses" if there[0] else "does not compress"
        seen = f"{socket.path} {what} at {socket.program.address}, and not so at {endpoint.origin}"
        fix = "let every proxy in front pass Sec-WebSocket-Extensions on as it comes"
        outcome.findings.append(target.found("DW061", seen, fix))
    if here[1] != there[1]:
        seen = (
            f"{socket.path} was offered {', '.join(socket.protocols)}; {socket.program.address} chooses "
            f"{there[1] or 'none'}, and {endpoint.origin} {here[1] or 'none'}"
        )
        fix = "let every proxy in front pass Sec-WebSocket-Protocol on as it comes"
        outcome.findings.append(target.found("DW062", seen, fix))
    return True


async def _agreed(endpoint: Endpoint, origin: str, socket: _Socket) -> tuple[bool, str | None] | None:
    try:
        async with endpoint.connect(
            socket.path, origin=origin, protocols=socket.protocols, compress=_WINDOW
        ) as connection:
            return bool(connection.compress), connection.protocol
    except aiohttp.WSServerHandshakeError:
        return None


async def _close_code(target: Target, endpoint: Endpoint, socket: _Socket) -> list[Finding]:
    """Send the hub what is no command, which it answers with a close of a code of its own."""
    there = await _code_of(socket.program, socket.program.origin, socket)
    here = await _code_of(endpoint, target.own_origin(endpoint), socket)
    if here == there:
        return []
    seen = f"{socket.path} closes with {there} at {socket.program.address}, and with {here} at {endpoint.origin}"
    fix = "use a proxy that passes the bytes of a WebSocket on, and makes no frames of its own"
    return [target.found("DW064", seen, fix)]


async def _code_of(endpoint: Endpoint, origin: str, socket: _Socket) -> int | None:
    async with endpoint.connect(socket.path, origin=origin) as connection:
        await connection.send_str("dash-ws-proxy check")
        while (await connection.receive(_ANSWER)).type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
            pass
        return connection.close_code


async def _large(target: Target, endpoint: Endpoint, socket: _Socket) -> list[Finding]:
    """Send a large message, and see that it comes back, or that Dash has read it."""
    why = await _problem(endpoint, target.own_origin(endpoint), socket)
    if not why or await _problem(socket.program, socket.program.origin, socket):
        return []
    seen = f"a message of {SIZE // 1_000_000} MB to {socket.path}: {why} at {endpoint.origin}, not without it"
    fix = "raise the limit of messages of the proxy in front, or use one that passes the bytes of a WebSocket on"
    return [target.found("DW063", seen, fix)]


async def _problem(endpoint: Endpoint, origin: str, socket: _Socket) -> str:
    """Return why a large message did not arrive, or did not come back; empty where all is well."""
    filler = os.urandom(SIZE // 2).hex()
    sent = filler if socket.kind == "echo" else json.dumps({"type": "heartbeat", "check": filler})
    try:
        async with endpoint.connect(socket.path, origin=origin, max_size=_MOST) as connection:
            await connection.send_str(sent)
            while True:
                message = await connection.receive(_ANSWER)
                if message.type is not aiohttp.WSMsgType.TEXT:
                    return f"closed with {connection.close_code}"
                if message.data == sent or (socket.kind == "dash" and "heartbeat_ack" in message.data):
                    return ""
    except TimeoutError:
        return f"no answer within {_ANSWER:g} s"
    except (aiohttp.ClientError, OSError) as error:
        return str(error) or type(error).__name__
