"""The area ``events``: whether server-sent events come when they are sent."""

from __future__ import annotations

import asyncio
import time
from urllib.parse import urlencode

from proxy.doctor.endpoint import Endpoint
from proxy.doctor.probe import Outcome, Skipped
from proxy.doctor.sockets import prefix_of
from proxy.doctor.target import Target, why_refused
from proxy.status.service import NoKey
from proxy.status.service_key import existing_keys
from ws_service.hub.paths import EVENT_STREAM
from ws_service.hub.tokens import Tokens

STREAM = EVENT_STREAM.removeprefix("/")
TOPIC = "dash-ws-proxy-check"
"""A topic that no program publishes to. The stream begins with the answer to its subscription."""

_GOOD_FOR = 60.0
"""Seconds of its token."""

FIRST = 1.0
"""Seconds to the first event."""

_TYPE = "text/event-stream"


async def probe(target: Target) -> Outcome:
    """Open an event stream of the hub where browsers connect, and wait for its first event."""
    endpoint = target.browser_endpoint
    if not target.has_hub:
        raise Skipped("there is no hub, whose streams could be asked")
    if target.ws not in target.reachable:
        raise Skipped("the WebSocket service cannot be reached")
    shown = await prefix_of(target) + STREAM
    query = urlencode({"channels": TOPIC, "token": await asyncio.to_thread(_token, target)})
    path = f"{shown}?{query}"
    took = await _first_event(target, endpoint, path)
    if took is not None:
        return Outcome(f"the first event of {shown} came after {round(took * 1000)} ms")
    seen = f"the first event of {shown} at {endpoint.origin} did not come within {FIRST:g} s"
    fix = (
        "let no proxy in front collect what it passes on (nginx: proxy_buffering off, gzip off for text/event-stream)"
        if endpoint is target.public
        else "see what the service logs"
    )
    return Outcome(shown, [target.found("DW060", seen, fix)])


def _token(target: Target) -> str:
    """Return a token for the topic. It reads files, and makes no key. Raises Skipped."""
    try:
        keys = existing_keys(target.folder / target.service.hub.key)
    except NoKey as error:
        raise Skipped(f"no stream may be opened: {error}") from None
    return Tokens(keys).sign_subscription(TOPIC, expires_at=time.time() + _GOOD_FOR)


async def _first_event(target: Target, endpoint: Endpoint, path: str) -> float | None:
    """Return the seconds to the first event; None where it does not come. Raises Skipped where there is no stream."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    headers = {"Accept": _TYPE, "Origin": target.own_origin(endpoint)}
    try:
        async with (
            asyncio.timeout(FIRST),
            endpoint.session.get(endpoint.url_of(path), headers=headers, allow_redirects=False) as response,
        ):
            if response.status != 200 or response.content_type != _TYPE:
                why = why_refused(response.status)
                raise Skipped(f"the event stream answers {response.status} {response.content_type}: {why}")
            await response.content.readany()
            return loop.time() - began
    except TimeoutError:
        return None
