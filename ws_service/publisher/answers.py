"""What the hub's API answers to a publication: its position, or why there is none."""

from __future__ import annotations

import json
from typing import Any

from ws_service.errors import PublishError
from ws_service.hub.codes import INTERNAL
from ws_service.hub.publication import Position
from ws_service.logs.formatter import one_line
from ws_service.publisher.hub_address import URL_VARIABLE, HubAddress


def position(address: HubAddress, status: int, body: bytes) -> Position | None:
    """Return the position of what was published; None where its topic keeps no history.

    Raises PublishError with what to do, and ValueError where the publication is too large.
    """
    if status == 401:
        raise PublishError(
            f"the hub at {address.url} does not accept the key from {address.key_source}: the service runs with "
            f"another config file or key. {address.advice}"
        )
    if status == 413:
        raise ValueError("the data is larger than the hub takes (ws_service.hub.max_publication)")
    reply = _object(body) if status == 200 else {}
    if "error" in reply:
        error = reply["error"] if isinstance(reply["error"], dict) else {}
        code = error.get("code")
        message = one_line(str(error.get("message")), 200)
        reason = "; it may not reach its broker, see the service's log" if code == INTERNAL.code else ""
        raise PublishError(f"the hub refuses: {message} ({code}){reason}", code if isinstance(code, int) else None)
    result = reply.get("result")
    if not isinstance(result, dict) or not _is_position(result):
        raise PublishError(
            f"what answers at {address.url} (status {status}) is no hub: name the service's own listener "
            f"(ws_service.listen, {URL_VARIABLE}), not the gateway. A service with hub.enabled: false, or with workers "
            "above 1 and no broker, has no hub; its log says so"
        )
    if not result.get("epoch"):
        return None
    return Position(result["epoch"], result["offset"])


def _is_position(result: dict[str, Any]) -> bool:
    epoch, offset = result.get("epoch", ""), result.get("offset", 0)
    return isinstance(epoch, str) and type(offset) is int and (not epoch or "offset" in result)


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
