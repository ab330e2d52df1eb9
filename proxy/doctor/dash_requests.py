"""The requests that a page of Dash makes: what ``check --compare`` replays. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

_LINKED = re.compile(r'(?:src|href)="([^"]+)"')

_MOST = 100_000
"""Components of a layout that are looked at."""

_GZIP = {"Accept-Encoding": "gzip"}


@dataclass(frozen=True)
class Request:
    """about: in a few words, for people. path: with its query."""

    about: str
    path: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    data: bytes | None = None

    def __str__(self) -> str:
        return f"{self.method} {self.path.partition('?')[0]} ({self.about})"


def requests_of_page(prefix: str, html: str, layout: Any, dependencies: Any) -> Iterator[Request]:
    """Yield what a page asks for, in its order.

    prefix: of the page's requests. html: the page. layout, dependencies: what Dash says, as values of JSON.
    """
    yield Request("index", prefix, headers={"Accept": "text/html"})
    yield Request("index, compressed", prefix, headers={"Accept": "text/html", **_GZIP})
    yield Request("HEAD of the index", prefix, "HEAD")
    yield Request("layout", f"{prefix}_dash-layout")
    yield Request("dependencies", f"{prefix}_dash-dependencies")
    if (body := first_callback(layout, dependencies)) is not None:
        data = json.dumps(body).encode()
        yield Request("callback", f"{prefix}_dash-update-component", "POST", {"Content-Type": "application/json"}, data)
    for about, part in (("asset", "assets/"), ("component suite", "_dash-component-suites/")):
        if (path := _linked(html, prefix + part)) is not None:
            yield Request(about, path)
            yield Request(f"HEAD of the {about}", path, "HEAD")
            yield Request(f"{about}, compressed", path, headers=_GZIP)
            yield Request(f"range of the {about}", path, headers={"Range": "bytes=10-99"})
    yield Request("a path that is not there", f"{prefix}_dash-component-suites/none.js")


def conditional(request: Request, fields: Mapping[str, str]) -> Request | None:
    """Return the request by which a browser asks whether what it has is still valid. None: it has nothing to ask by.

    fields: of the answer to ``request``.
    """
    asked = {"If-None-Match": fields.get("ETag"), "If-Modified-Since": fields.get("Last-Modified")}
    headers = {name: value for name, value in asked.items() if value and value.isascii() and value.isprintable()}
    return Request(f"conditional, {request.about}", request.path, headers=headers) if headers else None


def first_callback(layout: Any, dependencies: Any) -> dict[str, Any] | None:
    """Return the body of the first callback that each page runs as it opens. None: there is none of a simple form."""
    known = dict(_components(layout))
    for callback in dependencies if isinstance(dependencies, list) else ():
        if _is_simple(callback, known):
            output = callback["output"]
            return {
                "output": output,
                "outputs": _outputs(output),
                "inputs": [_filled(each, known) for each in callback.get("inputs", ())],
                "state": [_filled(each, known) for each in callback.get("state", ())],
                "changedPropIds": [],
            }
    return None


def _is_simple(callback: Any, known: Mapping[str, Mapping[str, Any]]) -> bool:
    """Tell whether the server runs a callback as a page opens, and all that it reads is in the layout."""
    if not isinstance(callback, dict) or callback.get("prevent_initial_call") or callback.get("clientside_function"):
        return False
    if callback.get("background") or callback.get("websocket") or callback.get("stream"):
        return False
    output, inputs, state = callback.get("output"), callback.get("inputs", []), callback.get("state", [])
    if not (isinstance(output, str) and isinstance(inputs, list) and isinstance(state, list)):
        return False
    return bool(inputs or state) and "{" not in output and all(_is_known(each, known) for each in [*inputs, *state])


def _is_known(reads: Any, known: Mapping[str, Mapping[str, Any]]) -> bool:
    """Tell whether what a callback reads is of the form that Dash writes, and in the layout."""
    if not isinstance(reads, dict):
        return False
    identifier = reads.get("id")
    return isinstance(identifier, str) and identifier in known and isinstance(reads.get("property"), str)


def _outputs(output: str) -> Any:
    """Return the outputs of a callback's name: ``a.x`` or ``..a.x...b.y..``."""
    if not output.startswith(".."):
        return _output(output)
    return [_output(each) for each in output[2:-2].split("...")]


def _output(name: str) -> dict[str, str]:
    identifier, _, prop = name.partition("@")[0].rpartition(".")
    return {"id": identifier, "property": prop}


def _filled(reads: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    found = {"id": reads["id"], "property": reads["property"]}
    value = known[reads["id"]].get(reads["property"])
    return found if value is None else {**found, "value": value}


def _components(layout: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the id and the properties of each component that has an id of text."""
    waiting = [layout]
    for _ in range(_MOST):
        if not waiting:
            return
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            props = value.get("props")
            if isinstance(props, dict):
                if isinstance(props.get("id"), str):
                    yield props["id"], props
                waiting += props.values()


def _linked(html: str, start: str) -> str | None:
    """Return the first path that a page links to and that starts so."""
    paths = (match[1].replace("&amp;", "&") for match in _LINKED.finditer(html))
    return next((path for path in paths if path.startswith(start)), None)
