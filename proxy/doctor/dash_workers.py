"""The area ``workers``: whether all processes that serve Dash are the same app.

Several addresses of one upstream, and several workers of gunicorn or uvicorn at one address. Each is asked several
times at once, over connections of their own: which process takes a connection is the kernel's choice.
"""

from __future__ import annotations

import asyncio
import re

from proxy.doctor.dash_prefix import ASKED, requested_prefix, served_prefix
from proxy.doctor.endpoint import Answer, Endpoint
from proxy.doctor.finding import Finding
from proxy.doctor.probe import Outcome, Skipped
from proxy.doctor.target import Target

AT_ONCE = 6
"""Requests to one address at a time."""

ROUNDS = 3

_SESSION = re.compile(r"^(session)=([!-:<-~]+)(?=;|$)")
"""The cookie of Flask, and of Starlette's SessionMiddleware."""


async def probe(target: Target) -> Outcome:
    """Ask for the list of callbacks, the page's hot reload and its session, without the gateway."""
    config = await target.dash_config()
    prefix = await served_prefix(target, requested_prefix(config))
    if prefix is None:
        raise Skipped("Dash does not answer what pages ask for")
    outcome = Outcome()
    dependencies = {answer.body for answer in await _ask(target, prefix + ASKED) if answer.status == 200}
    if len(dependencies) > 1:
        outcome.findings.append(_other_app(target, len(dependencies)))
    if config.has_hot_reload:
        hashes = {_reload_hash(answer) for answer in await _ask(target, f"{prefix}_reload-hash")} - {None}
        if len(hashes) > 1:
            outcome.findings.append(
                target.found(
                    "DW054",
                    f"_reload-hash has {len(hashes)} values",
                    "run one process with debug=True, or several without it",
                    ("gateway", "upstreams", "dash"),
                )
            )
    outcome.findings += await _sessions(target)
    asked = len(_addresses(target)) * AT_ONCE * ROUNDS
    outcome.seen = f"{asked} requests got the same app" if not outcome.findings else "processes that disagree"
    return outcome


def _other_app(target: Target, count: int) -> Finding:
    return target.found(
        "DW053",
        f"{ASKED} has {count} different contents, so the processes do not have the same callbacks",
        "give components ids that are the same in each process (no uuid, time or random number at import), and run "
        "the same version at each address",
        ("gateway", "upstreams", "dash"),
    )


async def _sessions(target: Target) -> list[Finding]:
    """Show a session to all of them: a process with another secret key begins a new one."""
    first = (await target.page(target.dash)).answer
    cookie = next(filter(None, map(_SESSION.match, first.set_cookies)), None)
    if cookie is None:
        return []
    answers = await _ask(target, target.page_path, Cookie=cookie[0])
    is_new = [any(map(_SESSION.match, answer.set_cookies)) for answer in answers]
    if all(is_new) or not any(is_new):
        return []
    seen = f"of {len(answers)} requests with a session of Dash's own, {sum(is_new)} got a new one"
    fix = "read app.server.secret_key from the environment or a file, and make no key at import"
    return [target.found("DW055", seen, fix)]


async def _ask(target: Target, path: str, **fields: str) -> list[Answer]:
    """Ask each address that answers, several times."""
    found: list[Answer] = []
    for _ in range(ROUNDS):
        for endpoint in _addresses(target):
            found += await asyncio.gather(
                *(endpoint.ask(path, headers={"Connection": "close", **fields}) for _ in range(AT_ONCE))
            )
    return found


def _addresses(target: Target) -> list[Endpoint]:
    return [endpoint for endpoint in target.upstreams["dash"] if endpoint in target.reachable]


def _reload_hash(answer: Answer) -> str | None:
    found = re.search(r'"reloadHash":\s*"([^"]+)"', answer.text)
    return found[1] if found else None
