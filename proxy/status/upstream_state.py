"""What is known of an upstream and of each of its addresses, for ``/status`` and for ``/readyz``."""

from __future__ import annotations

import time
from typing import Any

from proxy.upstream.address import Address
from proxy.upstream.health import Health
from proxy.upstream.upstream import Upstream


def upstream_state(upstream: Upstream) -> dict[str, Any]:
    """Return what is known of an upstream, as values for JSON; its state is that of the address that is best off.

    ``for_seconds``: for how long it has been in that state. ``why``: what is wrong; empty while nothing is.
    """
    return {
        **_state(upstream.health),
        "in_flight": upstream.queue.in_flight,
        "waiting": upstream.queue.waiting,
        "addresses": [_of_address(address) for address in upstream.addresses],
    }


def _of_address(address: Address) -> dict[str, Any]:
    return {
        "url": address.url,
        **_state(address.health),
        "in_flight": address.slots.taken,
        "sockets": address.sockets,
    }


def _state(health: Health) -> dict[str, Any]:
    return {
        "state": health.state.value,
        "for_seconds": round(time.monotonic() - health.since, 1),
        "why": health.why,
    }
