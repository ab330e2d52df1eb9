"""The area ``health``: whether the paths of ``gateway.health`` tell a healthy upstream from another one."""

from __future__ import annotations

from proxy.dash.page_config import read_page
from proxy.doctor.dash_faults import parse_version
from proxy.doctor.endpoint import Endpoint
from proxy.doctor.finding import Finding
from proxy.doctor.probe import Outcome, Skipped
from proxy.doctor.target import Target


async def probe(target: Target) -> Outcome:
    """Ask each path as the gateway's health check does."""
    health = target.settings.health
    outcome, seen = Outcome(), []
    for name, endpoint, path in (("dash", target.dash, health.dash), ("ws", target.ws, health.ws)):
        if path is None or endpoint not in target.reachable:
            continue
        finding = await _problem(target, name, endpoint, path)
        if finding is None:
            seen.append(f"{path} of {name}")
        else:
            outcome.findings.append(finding)
    if not seen and not outcome.findings:
        raise Skipped("no path is asked: an upstream counts as up when it takes a connection")
    outcome.seen = ", ".join(seen)
    return outcome


async def _problem(target: Target, name: str, endpoint: Endpoint, path: str) -> Finding | None:
    answer, key = await endpoint.ask(path), ("gateway", "health", name)
    if not 200 <= answer.status < 400:
        seen = f"{endpoint.address}{path} answers {answer.status}, so {name} counts as degraded"
        return target.found("DW047", seen, await _advice(target, name), key)
    if name == "dash" and path != target.page_path and read_page(answer.text) is not None:
        seen = f"{endpoint.address}{path} answers with the app's page, as every path does that Dash does not know"
        return target.found("DW048", seen, await _advice(target, name), key)
    return None


async def _advice(target: Target, name: str) -> str:
    if name == "ws":
        return "write ws: /healthz, which dash-ws-service answers"
    version = parse_version((await target.dash_config()).dash_version)
    if version is not None and version.release >= (3, 3):
        return "give dash.Dash health_endpoint='health', and write dash: /health with the app's prefix before it"
    return "write dash: /_dash-dependencies with the app's prefix before it"
