"""The area ``scripts``: WebSocket URLs in the page's scripts and layout that work on the author's machine alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from ipaddress import ip_address
from itertools import islice
from urllib.parse import SplitResult, urljoin, urlsplit

from proxy.doctor.dash_prefix import requested_prefix
from proxy.doctor.endpoint import Endpoint
from proxy.doctor.probe import Outcome, Skipped
from proxy.doctor.target import LOGIN_OR_FORBIDDEN, NEEDS_LOGIN, Target

MOST_SCRIPTS = 30
"""Files of a page that are read, Dash's own not counted."""

MOST_FOUND = 5
"""URLs of one script that are reported: it may be a bundle, all of whose lines are one."""

_SCRIPT = re.compile(r"<script\b", re.IGNORECASE)
_LONGEST_TAG = 2048
"""Characters between the name of a script's tag and its end; what is longer is not looked at."""

_SRC = re.compile(r"""\ssrc\s*=\s*["']?([^"'\s>]+)""", re.IGNORECASE)

_URL = re.compile(r"wss?://(\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9.-]{1,253})(?::\d{1,5})?")
_FIXED_SCHEME = re.compile(r"""["'`]ws://(?:["']\s*\+|\$\{)""")
"""``"ws://" + location.host`` and the same as a template."""

_COMMENT = re.compile(r"(?:^|[\s;{}])//")


@dataclass(frozen=True, slots=True)
class Script:
    """A text of the page. name: its path, or what it is."""

    name: str
    text: str


async def probe(target: Target) -> Outcome:
    """Read the page, its own scripts and its layout, where browsers connect."""
    prefix = requested_prefix(await target.dash_config())
    endpoint = target.browser_endpoint
    page = await target.page(endpoint, prefix)
    if page.answer.status in LOGIN_OR_FORBIDDEN:
        raise Skipped(f"{page.path} answers {page.answer.status}: {NEEDS_LOGIN}")
    outcome, count = Outcome(), 0
    own = {"localhost", target.dash.host, target.ws.host, endpoint.host}
    names, scripts = scripts_of(page.answer.text, page.path)
    scripts += await _read(endpoint, [*names[:MOST_SCRIPTS], f"{prefix}_dash-layout"])
    for script in scripts:
        count += 1
        for line, url in islice(absolute_urls(script.text, own), MOST_FOUND):
            seen = f"{script.name}:{line} has {url}"
            fix = 'make it of the page\'s own address: new URL("ws", document.baseURI), or url="/ws" in dash-extensions'
            outcome.findings.append(target.found("DW045", seen, fix))
        for line in islice(fixed_schemes(script.text), MOST_FOUND):
            seen = f"{script.name}:{line} writes ws:// for every page"
            fix = 'write (location.protocol === "https:" ? "wss://" : "ws://") + location.host'
            outcome.findings.append(target.found("DW046", seen, fix))
    outcome.seen = f"{count} scripts and texts of the page read, for WebSocket URLs that work on one machine alone"
    return outcome


def scripts_of(page: str, path: str) -> tuple[list[str], list[Script]]:
    """Return the paths of a page's own script files, and the scripts that are in it. path: of the page."""
    names, inline = [], []
    for tag, text in _scripts(page):
        source = _SRC.search(tag)
        if source is None:
            if text.strip():
                inline.append(Script(f"{path}, a script in the page", text))
            continue
        url = _split(path, unescape(source[1]))
        if url is not None and "/_dash-component-suites/" not in url.path:
            names.append(f"{url.path}?{url.query}" if url.query else url.path)
    return names, inline


def _scripts(page: str) -> Iterator[tuple[str, str]]:
    """Yield the fields of each script's tag, and the text after it, in a time that grows as the page does.

    An expression for all of a tag would look for its end from each beginning anew.
    """
    end = taken = -1
    for match in _SCRIPT.finditer(page):
        begin = match.end()
        if match.start() < taken:
            continue
        if end < begin:
            end = page.find(">", begin)
        if end < 0:
            return
        if end - begin > _LONGEST_TAG:
            continue
        taken = page.find("<", end)
        taken = len(page) if taken < 0 else taken
        yield page[begin:end], page[end + 1 : taken]


def _split(path: str, source: str) -> SplitResult | None:
    """Return where a source leads, from the page's path; None where that is no path of the same host."""
    try:
        url = urlsplit(urljoin(path, source))
    except ValueError:
        return None
    return None if url.scheme or url.netloc else url


async def _read(endpoint: Endpoint, paths: list[str]) -> list[Script]:
    answers = [(path, await endpoint.ask(path)) for path in paths]
    return [Script(path.partition("?")[0], answer.text) for path, answer in answers if answer.status == 200]


def absolute_urls(text: str, own: set[str]) -> Iterator[tuple[int, str]]:
    """Yield each WebSocket URL with a host that is this set-up's own, with its line; comments are left out.

    own: hosts, in lower case. Addresses of loopback are always own. Other hosts are other services, which may be meant.
    """
    for number, line in enumerate(text.splitlines(), 1):
        comment: int | None = None  # where it begins; it is looked for once in a line, which may be all of a bundle
        for match in _URL.finditer(line):
            host = match[1].strip("[]").lower()
            if host not in own and not _is_of_one_machine(host):
                continue
            if comment is None:
                comment = _comment_of(line)
            if match.start() >= comment:
                break
            yield number, match[0]


def fixed_schemes(text: str) -> Iterator[int]:
    """Yield the lines that make a URL with ws:// whatever the page has; none where the text knows wss:// too."""
    if "wss:" in text:
        return
    for number, line in enumerate(text.splitlines(), 1):
        match = _FIXED_SCHEME.search(line)
        if match and not _COMMENT.search(line, 0, match.start()):
            yield number


def _comment_of(line: str) -> int:
    """Return where the comment of a line begins; its length where there is none."""
    found = _COMMENT.search(line)
    return found.end() if found else len(line)


def _is_of_one_machine(host: str) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified
