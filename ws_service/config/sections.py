"""The sections that a config file may have, and the defaults that more than one of them must agree on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SECTIONS = ("gateway", "ws_service", "dash_app")
"""Each program reads its own."""

GATEWAY_LISTEN = "127.0.0.1:8000"
GATEWAY_ADMIN = "127.0.0.1:8001"
DASH_LISTEN = "127.0.0.1:8050"
SERVICE_LISTEN = "127.0.0.1:8765"
HANDOFF = "run/ws.sock"
HUB_KEY = "run/hub.key"

DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "gateway": {
        "listen": GATEWAY_LISTEN,
        "admin": GATEWAY_ADMIN,
        "handoff": HANDOFF,
        "upstreams": {"ws": f"http://{SERVICE_LISTEN}", "dash": f"http://{DASH_LISTEN}"},
    },
    "ws_service": {"handoff": HANDOFF, "listen": SERVICE_LISTEN},
    "dash_app": {"listen": DASH_LISTEN},
}
"""The value of each setting that ``consistency`` compares, where a section does not have it."""
