"""The area ``hubs``: whether all addresses of the WebSocket service are one hub."""

from __future__ import annotations

import asyncio

from pydantic import ValidationError

from proxy.doctor.endpoint import Endpoint
from proxy.doctor.probe import Outcome, Skipped
from proxy.doctor.target import Target
from proxy.status.service import NoKey
from proxy.status.service_answer import ServiceAnswer

STATUS = "/api/status?sockets=0&topics=0"


async def probe(target: Target) -> Outcome:
    """Ask each service which broker its hub has."""
    addresses = [endpoint for endpoint in target.upstreams["ws"] if endpoint in target.reachable]
    if len(addresses) < 2:
        raise Skipped("there is one WebSocket service")
    try:
        key = await asyncio.to_thread(target.find_service_key)
    except NoKey as error:
        raise Skipped(f"the services are not asked: {error}") from None
    brokers = {endpoint: await _broker(endpoint, key) for endpoint in addresses}
    alone = [endpoint.address for endpoint, broker in brokers.items() if broker == "memory"]
    if not alone:
        known = sorted({broker for broker in brokers.values() if broker})
        return Outcome(f"{len(addresses)} services, with {' and '.join(known) or 'no hub'}")
    seen = (
        f"the hub at {' and at '.join(alone)} has its publications in memory, and there are {len(addresses)} services"
    )
    fix = "write hub: {broker: redis://host:6379/0} for all of them; or name one address in upstreams.ws"
    return Outcome(f"{len(addresses)} services", [target.found("DW056", seen, fix, ("ws_service", "hub", "broker"))])


async def _broker(endpoint: Endpoint, key: str) -> str | None:
    """Return what the hub at an address has; None where it has none, or does not say."""
    answer = await endpoint.ask(STATUS, headers={"X-API-Key": key})
    try:
        hub = ServiceAnswer.model_validate_json(answer.body).hub if answer.status == 200 else None
    except ValidationError:
        return None
    return None if hub is None else hub.broker
