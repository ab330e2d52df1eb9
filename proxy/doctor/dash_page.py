"""The area ``dash``: whether there is a page of Dash, what it says, and the known faults of its version."""

from __future__ import annotations

from urllib.parse import urlsplit

from proxy.dash.page_config import PageConfig
from proxy.doctor.dash_faults import (
    has_socket_at_wrong_path,
    opens_socket_on_each_page,
    parse_version,
    swallows_websockets,
)
from proxy.doctor.dash_prefix import requested_prefix, served_prefix
from proxy.doctor.endpoint import TIMEOUT
from proxy.doctor.finding import Finding
from proxy.doctor.probe import Outcome, Skipped
from proxy.doctor.target import LOGIN_OR_FORBIDDEN, NEEDS_LOGIN, Page, Target


async def probe(target: Target) -> Outcome:
    """Read the page, without the gateway."""
    if target.dash not in target.reachable:
        raise Skipped("Dash cannot be reached")
    try:
        page = await target.page(target.dash)
    except TimeoutError:
        return Outcome(findings=[_silent(target)])
    if page.config is None:
        return Outcome(findings=[_no_page(target, page)])
    config = page.config
    findings = [*await _known_faults(target, config), *_in_debug_mode(target, config)]
    return Outcome(_summary(config), findings)


def _summary(config: PageConfig) -> str:
    version = f"Dash {config.dash_version}" if config.dash_version else "Dash"
    socket = "with a WebSocket of its own" if config.websocket else "without a WebSocket of its own"
    return f"{version} {socket}, prefix {requested_prefix(config)}"


def _silent(target: Target) -> Finding:
    """Return the finding that Dash answers nothing; areas that ask it would wait as long, each of them."""
    target.reachable.discard(target.dash)
    seen = f"Dash at {target.dash.address} takes a connection, and does not answer within {TIMEOUT:g} s"
    fix = "see its output; in debug mode on FastAPI a mistake in the module leaves it so, until it is corrected"
    return target.found("DW067", seen, fix)


def _no_page(target: Target, page: Page) -> Finding:
    answer = page.answer
    if answer.status in LOGIN_OR_FORBIDDEN:
        where = f" to {answer.headers['Location']}" if "Location" in answer.headers else ""
        raise Skipped(f"{page.path} of Dash answers {answer.status}{where}: {NEEDS_LOGIN}")
    return target.found(
        "DW030",
        f"{target.dash.address}{page.path} answers {answer.kind}, and that is no page of Dash",
        "if another program listens there, correct gateway.upstreams.dash; if the app has a prefix, write it in "
        "gateway.dash_prefix",
        ("gateway", "dash_prefix") if answer.status == 404 else ("gateway", "upstreams", "dash"),
    )


async def _known_faults(target: Target, config: PageConfig) -> list[Finding]:
    version, findings = parse_version(config.dash_version), []
    if swallows_websockets(version):
        findings.append(
            target.found(
                "DW031",
                f"Dash {config.dash_version} answers every WebSocket with 500",
                "keep the endpoints in ws_service, as the gateway does by itself, or upgrade: pip install 'dash>=4.2'",
            )
        )
    if config.websocket is None:
        return findings
    requested = requested_prefix(config)
    if has_socket_at_wrong_path(version) and await served_prefix(target, requested) not in (requested, None):
        findings.append(
            target.found(
                "DW032",
                f"Dash {config.dash_version} has its WebSocket below {requested}, and everything else below another "
                "prefix",
                "pip install 'dash>=4.3'",
            )
        )
    if opens_socket_on_each_page(version) and not config.websocket.is_global:
        findings.append(
            target.found(
                "DW033",
                f"Dash {config.dash_version} opens a WebSocket on each page, also where no callback uses it",
                "nothing has to be done; Dash 4.5 opens it when it is used",
            )
        )
    return findings


def _in_debug_mode(target: Target, config: PageConfig) -> list[Finding]:
    """Say that debug mode is on where others can reach it: the public URL is no address of this host."""
    if target.public not in target.reachable or target.public.is_of_this_host:
        return []
    if not (config.has_dev_tools or config.has_hot_reload):
        return []
    seen = f"the app at {urlsplit(target.public.origin).netloc} runs with debug=True"
    return [target.found("DW034", seen, "start it by gunicorn or uvicorn, or without debug=True")]
