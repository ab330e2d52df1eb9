"""The area ``hubs``: whether the WebSocket services have the key of this config, and are one hub."""

from __future__ import annotations

import asyncio

from pydantic import ValidationError

from proxy.doctor.endpoint import Answer
from proxy.doctor.finding import Finding
from proxy.doctor.probe import Outcome, Skipped
from proxy.doctor.target import Target
from proxy.status.service import NoKey
from proxy.status.service_answer import ServiceAnswer

STATUS = "/api/status?sockets=0&topics=0"


REFUSED = 401
"""What the service answers to another key than its own."""


async def probe(target: Target) -> Outcome:
    """Ask each service which broker its hub has, with the key that ``publish()`` and ``Live`` find by this config."""
    addresses = [endpoint for endpoint in target.upstreams["ws"] if endpoint in target.reachable]
    if not addresses:
        raise Skipped("the WebSocket service cannot be reached")
    if not target.has_hub and len(addresses) < 2:
        raise Skipped("by this file there is no hub")
    try:
        key = await asyncio.to_thread(target.find_service_key)
    except NoKey as error:
        raise Skipped(f"the service is not asked: {error}") from None
    answers = {endpoint: await endpoint.ask(STATUS, headers={"X-API-Key": key}) for endpoint in addresses}
    outcome = Outcome()
    others = [endpoint.address for endpoint, answer in answers.items() if answer.status == REFUSED]
    if others and target.has_hub:
        outcome.findings.append(_other_key(target, others))
    brokers = {endpoint: _broker(answer) for endpoint, answer in answers.items()}
    known = sorted({broker for broker in brokers.values() if broker})
    if known:
        outcome.seen = f"the key is the service's, the broker is {' and '.join(known)}"
    alone = [endpoint.address for endpoint, broker in brokers.items() if broker == "memory"]
    if alone and len(addresses) > 1:
        where, count = " and at ".join(alone), len(addresses)
        seen = f"the hub at {where} has its publications in memory, and there are {count} services"
        fix = "write hub: {broker: redis://host:6379/0} for all of them; or name one address in upstreams.ws"
        outcome.findings.append(target.found("DW056", seen, fix, ("ws_service", "hub", "broker")))
    if not outcome.seen and not outcome.findings:
        raise Skipped("the service does not say which hub it has")
    return outcome


def _other_key(target: Target, addresses: list[str]) -> Finding:
    seen = f"the hub at {' and at '.join(addresses)} does not accept the key that this file leads to"
    fix = (
        "start the service, Dash and this check with the same file and the same DASH_WS_HUB_KEY, or without it; under "
        "systemd: set -a; . /etc/NAME.env, then check again"
    )
    return target.found("DW029", seen, fix, ("ws_service", "hub", "key"))


def _broker(answer: Answer) -> str | None:
    """Return what a hub has; None where there is none, or the service does not say."""
    try:
        hub = ServiceAnswer.model_validate_json(answer.body).hub if answer.status == 200 else None
    except ValidationError:
        return None
    return None if hub is None else hub.broker
