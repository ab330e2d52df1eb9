"""``check --compare``: Dash's own requests are asked of two addresses, and what differs is told."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from proxy.dash.page_config import read_page
from proxy.doctor.dash_prefix import requested_prefix
from proxy.doctor.dash_requests import Request, conditional, requests_of_page
from proxy.doctor.differences import Difference, differences, is_same_body
from proxy.doctor.endpoint import Answer, Endpoint
from proxy.doctor.report import FORMAT
from ws_service.logs.formatter import one_line

_SHORT = 60
"""Characters of two values that stand on one line."""


@dataclass(frozen=True)
class Compared:
    """A request and its two answers. is_body_left_out: the body of the first address varies by itself."""

    request: Request
    direct: Answer
    gateway: Answer
    differences: list[Difference]
    is_body_left_out: bool = False


class NoDash(Exception):
    """The first address shows no page of Dash. Its text says what it shows."""


async def compare(direct: Endpoint, gateway: Endpoint) -> AsyncIterator[Compared]:
    """Yield each request with its answers, as they come.

    direct: Dash without the gateway; its path is the page's. gateway: what is compared with it, at the same path.
    Raises NoDash, aiohttp.ClientError, OSError, TimeoutError.
    """
    index = await direct.ask(direct.path, headers={"Accept": "text/html"})
    config = read_page(index.text)
    if config is None:
        raise NoDash(f"{direct.origin}{direct.path} answers {index.kind}, and that is no page of Dash")
    prefix = requested_prefix(config)
    layout, dependencies = [await _json(direct, prefix + name) for name in ("_dash-layout", "_dash-dependencies")]
    for request in requests_of_page(prefix, index.text, layout, dependencies):
        compared = await _asked(direct, gateway, request)
        yield compared
        if request.about in ("asset", "component suite") and (again := conditional(request, compared.direct.headers)):
            yield await _asked(direct, gateway, again)


async def _json(endpoint: Endpoint, path: str) -> Any:
    try:
        return json.loads((await endpoint.ask(path)).text)
    except (ValueError, RecursionError):
        return None


async def _asked(direct: Endpoint, gateway: Endpoint, request: Request) -> Compared:
    here, there = await _ask(direct, request), await _ask(gateway, request)
    origins = direct.origin, gateway.origin
    found = differences(here, there, origins)
    if not any(each.what == "body" for each in found) or is_same_body(here, await _ask(direct, request)):
        return Compared(request, here, there, found)
    return Compared(request, here, there, differences(here, there, origins, has_body=False), is_body_left_out=True)


async def _ask(endpoint: Endpoint, request: Request) -> Answer:
    headers = {"Accept-Encoding": "identity", **request.headers}
    return await endpoint.ask(request.path, method=request.method, headers=headers, data=request.data)


def lines_of(compared: Compared) -> Iterator[str]:
    """Yield the lines of one request for a terminal."""
    found = compared.differences
    note = "; the body varies by itself" if compared.is_body_left_out else ""
    answer = compared.direct
    seen = f"{answer.status}, {len(answer.fields)} fields, {len(answer.body)} bytes{note}"
    yield one_line(f"{'✗' if found else '✓'} {compared.request}: {seen}")
    for each in found:
        direct, gateway = each.direct or "-", each.gateway or "-"
        if len(direct) + len(gateway) <= _SHORT:
            yield one_line(f"    {each.what}: {direct} direct, {gateway} through the gateway")
        else:
            yield one_line(f"    {each.what}:")
            yield one_line(f"      direct:  {direct}")
            yield one_line(f"      gateway: {gateway}")


def as_json(addresses: tuple[str, str], compared: list[Compared], exit_code: int) -> Mapping[str, Any]:
    """Return everything as values for JSON. addresses: the two that were asked."""
    return {
        "format": FORMAT,
        "direct": addresses[0],
        "gateway": addresses[1],
        "exit_code": exit_code,
        "requests": [
            {
                "request": str(each.request),
                "result": "different" if each.differences else "same",
                "is_body_left_out": each.is_body_left_out,
                "differences": [difference._asdict() for difference in each.differences],
            }
            for each in compared
        ],
    }
