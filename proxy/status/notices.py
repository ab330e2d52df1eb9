"""What needs attention, worst first: each with what was seen, and what to do about it.

Pure: made of what the other parts of the status say, so that the JSON has the same words as the page.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

LATE = 0.25
"""Seconds by which the event loop may be late before it is worth a notice: what a person begins to feel."""

FULL = 0.9
"""The share of a limit that is in use before it is worth a notice."""

_ORDER = ("error", "warning")


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing that needs attention.

    level: ``error``: requests fail or wait; ``warning``: they may soon, or something is not as it was meant.
    what: a sentence. advice: what to do, in a sentence or two.
    """

    level: str
    what: str
    advice: str


def notices(status: dict[str, Any]) -> list[Notice]:
    """Return what needs attention in a status, as ``document`` makes it."""
    found = [
        *_of_process(status),
        *_of_upstreams(status),
        *_of_requests(status),
        *_of_handoff(status),
        *_of_services(status),
    ]
    return sorted(found, key=lambda notice: _ORDER.index(notice.level))


def _of_process(status: dict[str, Any]) -> Iterator[Notice]:
    gateway, now = status["gateway"], status["now"]
    match gateway["state"]:
        case "giving notice":
            advice = "New clients are to come to another gateway; all requests are served until the listener closes."
            yield Notice("warning", "It is going to stop, and /readyz says so.", advice)
        case "draining":
            left = status["drain"]["seconds"] if status["drain"] else 0
            advice = f"What has not ended in {left:.0f} s is cut. Sockets that were handed over stay open."
            yield Notice("warning", "It is stopping: clients are asked to leave.", advice)
    for sentence in status["dash"]["warnings"]:
        what, _, advice = sentence.partition("; ")
        yield Notice("warning", f"{what}.", f"{advice[:1].upper()}{advice[1:]}." if advice else "")
    if gateway["reload_failed"]:
        advice = "The configuration before is in force. The log has each mistake with its line."
        yield Notice("error", "The last reload failed.", advice)
    if now["connections"] >= FULL * gateway["most_connections"]:
        advice = "At the limit new clients wait. Raise gateway.limits.connections, or the files that may be open."
        yield Notice("warning", f"{now['connections']} of {gateway['most_connections']} connections are open.", advice)
    if (late := now["late"]) >= LATE:
        advice = "Every request waits as long. Is the machine out of CPU or memory? If not, please report it."
        yield Notice("warning", f"The event loop was late by {late:.2f} s in the last minute.", advice)


def _of_upstreams(status: dict[str, Any]) -> Iterator[Notice]:
    for upstream in status["upstreams"]:
        name, lasted = upstream["name"], f"for {upstream['for_seconds']:.0f} s"
        why = f": {upstream['why']}" if upstream["why"] else ""
        if upstream["state"] == "unreachable":
            waiting = f"{upstream['waiting']} do now"
            advice = f"Requests wait for gateway.timeouts.hold and get 503 then; {waiting}. Is it running?"
            yield Notice("error", f"The upstream {name} is unreachable {lasted}{why}.", advice)
        elif upstream["state"] == "degraded":
            advice = f"Requests go on. gateway.health.{name} is what was asked; the log of {name} may say more."
            yield Notice("warning", f"The upstream {name} is degraded {lasted}{why}.", advice)
        elif upstream["waiting"]:
            advice = "Each waits for gateway.timeouts.queue at the most. Either it is slow, or the limit is too low."
            what = (
                f"{upstream['waiting']} requests wait for {name}, which has all it may have ({upstream['in_flight']})."
            )
            yield Notice("warning", what, advice)
        for address in upstream["addresses"]:
            if address["state"] == "unreachable" != upstream["state"]:
                advice = "It gets no requests until a probe reaches it; the other addresses have its share."
                yield Notice("warning", f"{address['url']} of {name} is unreachable.", advice)


def _of_requests(status: dict[str, Any]) -> Iterator[Notice]:
    minute = status["minute"]
    if minute["failed"]:
        share = 100 * minute["failed"] / minute["requests"]
        percent = f"{share:.0f}" if share >= 10 else f"{share:.2g}"
        advice = "The table of routes says where; the access log has each with its outcome."
        what = f"{minute['failed']} of {minute['requests']} requests of the last minute got a 5xx ({percent} %)."
        yield Notice("error" if share >= 5 else "warning", what, advice)
    for limit, times in minute["limits"].items():
        advice = f"A client was rejected or slowed down by gateway.limits.{limit}; the log names it."
        yield Notice("warning", f"The limit {limit} was hit {times} times in the last minute.", advice)


def _of_handoff(status: dict[str, Any]) -> Iterator[Notice]:
    if absence := status["handoff"]["absence"]:
        why = absence[:1].upper() + absence[1:] + ("" if absence.endswith("?") else ".")
        advice = f"{why} Until then WebSockets go through tunnels, which end when the gateway restarts."
        yield Notice("warning", "No service takes WebSockets over.", advice)


def _of_services(status: dict[str, Any]) -> Iterator[Notice]:
    for service in status["services"]:
        url, hub = service["url"], service.get("hub")
        if hub is not None and not hub["is_connected"]:
            advice = "Until it has, nothing is published; subscribers stay. Is it running? The service's log says more."
            yield Notice("error", f"The hub at {url} has no connection to its broker ({hub['broker']}).", advice)
        if missing := service.get("missing"):
            advice = "Its sockets get nothing while it is busy or stuck. The service's log may say more."
            yield Notice("warning", f"Worker {', '.join(map(str, missing))} of the service at {url} is silent.", advice)
