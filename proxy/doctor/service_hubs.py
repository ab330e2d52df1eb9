"""The area ``hubs``: whether the services have the key of this config, reach their broker, and are one hub."""

from __future__ import annotations

import asyncio

from pydantic import ValidationError

from proxy.doctor.endpoint import Answer
from proxy.doctor.finding import Finding
from proxy.doctor.probe import Outcome, Skipped
from proxy.doctor.target import Target
from proxy.status.service import NoKey
from proxy.status.service_answer import Hub, ServiceAnswer

STATUS = "/api/status?sockets=0&topics=0"

REFUSED = 401
"""What the service answers to another key than its own."""


async def probe(target: Target) -> Outcome:
    """Ask each service which broker its hub has, with the key that ``publish()`` and ``Live`` find by this config."""
    addresses = [endpoint for endpoint in target.upstreams["ws"] if endpoint in target.reachable]
    if not addresses:
        raise Skipped("the WebSocket service cannot be reached")
    if not target.has_hub and len(addresses) < 2:
        raise Skipped("the file names no hub")
    try:
        key = await asyncio.to_thread(target.find_service_key)
    except NoKey as error:
        raise Skipped(f"the service is not asked: {error}") from None
    answers = {endpoint: await endpoint.ask(STATUS, headers={"X-API-Key": key}) for endpoint in addresses}
    outcome = Outcome()
    others = [endpoint.address for endpoint, answer in answers.items() if answer.status == REFUSED]
    if others and target.has_hub:
        outcome.findings.append(_other_key(target, others))
    hubs = {endpoint.address: hub for endpoint, answer in answers.items() if (hub := _hub(answer)) is not None}
    cut_off = [address for address, hub in hubs.items() if not hub.is_connected]
    if cut_off:
        seen = f"the hub at {' and at '.join(cut_off)} has no connection to its broker"
        fix = "start the broker, or write where it is and its password; the service's log says why"
        outcome.findings.append(target.found("DW049", seen, fix, ("ws_service", "hub", "broker")))
    known = sorted({hub.broker for hub in hubs.values()})
    if known:
        key_fits = "" if others else "the key is the service's, "
        outcome.seen = f"{key_fits}the broker is {' and '.join(known)}"
    alone = [address for address, hub in hubs.items() if hub.broker == "memory"]
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
        "systemd, as the user of the units: set -a; . /etc/NAME.env, then check again"
    )
    return target.found("DW029", seen, fix, ("ws_service", "hub", "key"))


def _hub(answer: Answer) -> Hub | None:
    """Return what a service says of its hub; None where there is none, or it does not say."""
    try:
        return ServiceAnswer.model_validate_json(answer.body).hub if answer.status == 200 else None
    except ValidationError:
        return None
