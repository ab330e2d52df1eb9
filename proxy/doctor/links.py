"""The area ``links``: whether Dash is told the scheme and the host that browsers use, and trusts what it is told.

Neither can be asked for. They show in the URLs that the app writes of itself (``own_urls``).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import urlsplit

from proxy.doctor.dash_prefix import requested_prefix
from proxy.doctor.endpoint import Answer, Endpoint
from proxy.doctor.own_urls import is_asked_as_http, redirect, urls_of_itself
from proxy.doctor.probe import Outcome, Skipped
from proxy.doctor.target import Target

_PROXY_FIX = (
    "Flask's own server: app.server.wsgi_app = ProxyFix(app.server.wsgi_app, x_proto=1, x_host=1); "
    "gunicorn: --forwarded-allow-ips with the gateway's address; uvicorn: the same, with --proxy-headers"
)


async def probe(target: Target) -> Outcome:
    """Ask where browsers connect, and Dash itself as the gateway asks it for a browser that uses https."""
    prefix = requested_prefix(await target.dash_config())
    endpoint = target.browser_endpoint
    host = urlsplit(endpoint.origin).netloc
    asked, hosts = [], set()
    async for answer in _answers(endpoint, prefix, {}):
        asked.append(is_asked_as_http(answer, host))
        hosts |= {url.netloc for url in urls_of_itself(answer)}
    outcome = Outcome()
    slash = await _without_slash(endpoint, prefix, {})
    if slash is not None and (url := redirect(slash)) is not None:
        hosts.add(url.netloc)
    if others := sorted(hosts - {host, _without_port(endpoint)}):
        outcome.findings.append(
            target.found(
                "DW052",
                f"the app at {host} writes URLs with the host {others[0]}",
                "let every proxy in front pass Host on as it comes (nginx: proxy_set_header Host $http_host), and name "
                "it in gateway.trusted_proxies where it writes X-Forwarded-Host",
                ("gateway", "trusted_proxies"),
            )
        )
    if _is_https(target, endpoint):
        await _scheme(target, endpoint, prefix, any(asked), outcome)
    if not hosts and not any(asked) and not outcome.findings:
        raise Skipped("the app writes no URL of itself, so it does not show what arrives")
    outcome.seen = "the app knows the host that browsers use" if not outcome.findings else "URLs that the app writes"
    return outcome


async def _scheme(target: Target, endpoint: Endpoint, prefix: str, is_http: bool, outcome: Outcome) -> None:
    """Find out whether Dash takes a browser for one that uses https, and whether it is told."""
    host = urlsplit(endpoint.origin).netloc
    fields = {"Host": host, "X-Forwarded-Host": host, "X-Forwarded-Proto": "https", "X-Forwarded-For": "127.0.0.1"}
    if any([is_asked_as_http(answer, host) async for answer in _answers(target.dash, prefix, fields)]):
        seen = f"Dash is asked with X-Forwarded-Proto: https, and writes http://{host}"
        outcome.findings.append(target.found("DW050", seen, _PROXY_FIX))
    elif is_http and endpoint.origin.startswith("https:"):
        fix = (
            "name the proxy in front in gateway.trusted_proxies, and let it write X-Forwarded-Proto (nginx: "
            "proxy_set_header X-Forwarded-Proto $scheme)"
        )
        seen = f"the app at {endpoint.origin} writes http://{host}"
        outcome.findings.append(target.found("DW051", seen, fix, ("gateway", "trusted_proxies")))


def _is_https(target: Target, endpoint: Endpoint) -> bool:
    """Tell whether browsers use https, or a proxy in front is trusted, which is seldom there for anything else."""
    if endpoint is target.public:
        return endpoint.origin.startswith("https:")
    return endpoint.origin.startswith("https:") or bool(target.settings.trusted_proxies)


async def _answers(endpoint: Endpoint, prefix: str, fields: dict[str, str]) -> AsyncIterator[Answer]:
    """Ask for the page, and for the page without its last slash."""
    yield await endpoint.ask(prefix, headers={"Accept": "text/html", **fields})
    slash = await _without_slash(endpoint, prefix, fields)
    if slash is not None:
        yield slash


async def _without_slash(endpoint: Endpoint, prefix: str, fields: dict[str, str]) -> Answer | None:
    return None if prefix == "/" else await endpoint.ask(prefix.rstrip("/"), headers=fields)


def _without_port(endpoint: Endpoint) -> str:
    """Return the host without a port that is the scheme's own."""
    is_default = endpoint.port == (443 if endpoint.origin.startswith("https:") else 80)
    return endpoint.host if is_default else ""
