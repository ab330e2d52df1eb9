"""The area ``auth``: whether forward authentication sees what a client sends to log in, and can tell clients apart."""

from __future__ import annotations

from proxy.config import Auth
from proxy.dash.page_config import read_page
from proxy.doctor.endpoint import Endpoint
from proxy.doctor.probe import Outcome, Skipped
from proxy.doctor.target import LOGIN_OR_FORBIDDEN, Target


async def probe(target: Target) -> Outcome:
    """Ask what each rule asks, of Dash itself; with the fields of a client that is logged in, also where browsers
    connect.
    """
    rules = [(number, rule) for number, rule in enumerate(target.settings.auth) if rule.ask is not None]
    if not rules:
        raise Skipped("gateway.auth has no rule that asks")
    if target.dash not in target.reachable:
        raise Skipped("Dash cannot be reached")
    outcome = Outcome()
    for number, rule in rules:
        await _rule(target, number, rule, outcome)
    if not target.fields:
        outcome.seen = outcome.seen or "strangers are told apart; give -H 'Cookie: ...' to see whether users get in"
    return outcome


async def _rule(target: Target, number: int, rule: Auth, outcome: Outcome) -> None:
    stranger = Endpoint("dash", target.dash.address, target.upstream_tls)
    key = ("gateway", "auth", number, "ask")
    try:
        status, is_page = await _asked(stranger, rule)
    finally:
        await stranger.close()
    if is_page:
        seen = f"{rule.ask} answers with Dash's page, as any path does that Dash does not know"
        fix = "name a route of the Dash server, which answers 2xx without a body for a user who may"
        outcome.findings.append(target.found("DW058", seen, fix, key))
    elif 200 <= status < 300 and not rule.copy_headers:
        seen = f"{rule.ask} answers {status} to a client without a cookie"
        outcome.findings.append(target.found("DW059", seen, "answer 401 or 302 to a client that is not known", key))
    elif target.fields and 200 <= (await _asked(target.dash, rule))[0] < 300:
        await _passes(target, number, rule, outcome)


async def _passes(target: Target, number: int, rule: Auth, outcome: Outcome) -> None:
    """See whether the same client passes where browsers connect, over HTTP and for a handshake."""
    endpoint = target.browser_endpoint
    path = target.page_path if rule.path == "/" else rule.path
    answer = await endpoint.ask(path, headers={"Host": rule.host} if rule.host else None)
    if answer.status in LOGIN_OR_FORBIDDEN:
        names = ", ".join(target.fields)
        seen = f"{rule.ask} of Dash lets this client pass, and {endpoint.origin}{path} answers {answer.status}"
        fix = f"let every proxy in front pass {names} on as it comes; is the cookie of another host or path?"
        outcome.findings.append(target.found("DW057", seen, fix, ("gateway", "auth", number)))
    else:
        outcome.seen = f"{path} lets this client pass"


async def _asked(endpoint: Endpoint, rule: Auth) -> tuple[int, bool]:
    """Return how Dash answers what a rule asks: its status, and whether it is Dash's page."""
    fields = {"X-Forwarded-Method": "GET", "X-Forwarded-Uri": rule.path, "X-Forwarded-Proto": "http"}
    answer = await endpoint.ask(rule.ask or "/", headers=fields)
    return answer.status, answer.status == 200 and read_page(answer.text) is not None
