"""The area ``prefix``: whether what pages ask for is answered below the prefix that Dash's page says."""

from __future__ import annotations

from proxy.dash.page_config import PageConfig
from proxy.doctor.endpoint import Answer, Endpoint
from proxy.doctor.finding import Finding
from proxy.doctor.probe import Outcome, Skipped
from proxy.doctor.target import LOGIN_OR_FORBIDDEN, NEEDS_LOGIN, Target

ASKED = "_dash-dependencies"
"""What each page asks for; Dash answers with JSON, whatever the layout is."""


_MOST_SEGMENTS = 16
"""Of a prefix, for each of which Dash is asked once: a page may name a thousand."""


def requested_prefix(config: PageConfig) -> str:
    """Return what the paths begin with that pages ask for."""
    return config.requests_pathname_prefix or "/"


async def served_prefix(target: Target, requested: str) -> str | None:
    """Return the prefix below which Dash answers without the gateway: the one that pages use, or what is left of it
    once a proxy in front has removed its begin. None: neither.
    """
    for prefix in _suffixes(requested):
        if _is_dash(await _ask(target.dash, prefix)):
            return prefix
    return None


async def probe(target: Target) -> Outcome:
    """Ask as a page does, where browsers connect."""
    requested = requested_prefix(await target.dash_config())
    endpoint = target.browser_endpoint
    outcome = Outcome(f"pages get what they ask for below {requested}")
    served = await served_prefix(target, requested)
    answer = await _ask(endpoint, requested)
    if answer.status in LOGIN_OR_FORBIDDEN:
        raise Skipped(f"{requested}{ASKED} answers {answer.status}: {NEEDS_LOGIN}")
    if not _is_dash(answer):
        outcome.seen = f"pages ask below {requested}"
        outcome.findings.append(_not_answered(target, endpoint, requested, served, answer))
    written = target.settings.dash_prefix
    if target.is_prefix_written and written not in ("auto", requested, served):
        seen = f"gateway.dash_prefix is {written}, and Dash's page says {requested}"
        fix = f"write {served or requested}"
        outcome.findings.append(target.found("DW037", seen, fix, ("gateway", "dash_prefix")))
    return outcome


def _not_answered(target: Target, endpoint: Endpoint, requested: str, served: str | None, answer: Answer) -> Finding:
    """Return the finding that pages do not get what they ask for, or get it only through a proxy in front."""
    seen = f"pages ask for {requested}{ASKED}, and get {answer.kind}"
    if served is None:
        return target.found("DW035", seen, "give dash.Dash one url_base_pathname, which both prefixes follow from")
    fix = f"write dash.Dash(url_base_pathname={requested!r}): the gateway removes nothing from paths"
    if endpoint is target.public:
        return target.found("DW035", f"{seen}; Dash answers below {served}", fix)
    fix += "; where a proxy in front removes a part of them, check with --url"
    return target.found("DW036", f"{seen}; Dash answers below {served}", fix)


def _suffixes(prefix: str) -> list[str]:
    """Return a prefix, and what is left of it when segments are removed from its begin: /x/app/, /app/, /.

    Of a prefix with more than ``_MOST_SEGMENTS`` it is the prefix alone.
    """
    segments = [segment for segment in prefix.split("/") if segment]
    if len(segments) > _MOST_SEGMENTS:
        return [prefix]
    return ["/" + "".join(f"{segment}/" for segment in segments[start:]) for start in range(len(segments) + 1)]


async def _ask(endpoint: Endpoint, prefix: str) -> Answer:
    return await endpoint.ask(prefix + ASKED)


def _is_dash(answer: Answer) -> bool:
    return answer.status == 200 and answer.content_type == "application/json"
