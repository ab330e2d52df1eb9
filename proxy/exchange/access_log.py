"""One line per finished exchange, and one when a WebSocket opens."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import lru_cache

from proxy.exchange.record import Exchange
from ws_service.logs.formatter import escaped, shortened

_FLUSH_DELAY = 0.05
"""Seconds that a line may wait for others. Precedent: nginx without ``buffer=`` writes each at once."""

_BATCH = 512
"""Lines; more are written at once."""

_SECRET = re.compile(
    r"(?i:token|secret|passw(?:or)?d|sig|signature|credential|key|auth|code|jwt|sid|session(?:_?id)?|ticket|cf_connect)"
    r"(?![a-z])"
)
"""The end of the name of a query parameter whose value is not written, or the end of a word in it. ``cf_connect`` is
a command with tokens in it, for event streams of the hub."""

_ENCODED_MARK = re.compile(r"(?i)%(?:25)*(?:26|3b|3f)")
"""What begins a parameter (``&``, ``;``, ``?``) for a server that decodes before it looks."""

_HEX = "0123456789abcdefABCDEF"
_ESCAPE = re.compile("%[0-9A-Fa-f]{2}")
_OCTETS = {f"%{high}{low}": chr(int(high + low, 16)) for high in _HEX for low in _HEX}
"""What an escape means. Of letters beyond ASCII only the octets: no name that is compared has any, and urllib takes
longer for what is hostile."""

_DECODINGS = 3
"""How often a name is decoded before it is judged: a proxy and an application after this one may do it once each."""

_MOST_JUDGED = 64
"""Parameters of one target that are judged one by one; the rest is not written. Dash's own requests have up to 3."""

_LONGEST = {"target": 2048, "method": 32, "host": 256, "client": 64, "detail": 1024}
"""Characters that are written of each. A request line may have 16 KiB, and strangers must not fill the disk with it."""


class AccessLog:
    """Writes lines in batches: a system call for each would cost as much as the rest of a small exchange.

    form: of a line, as ``gateway.access_log`` names it. write: takes bytes, whole lines, and does not wait.

    A process that is killed loses the lines of its last ``_FLUSH_DELAY`` seconds.
    """

    def __init__(self, form: str, write: Callable[[bytes], None]) -> None:
        self._line = LINES.get(form)
        self._write = write
        self._lines: list[str] = []
        self._timer: asyncio.TimerHandle | None = None

    def reconfigure(self, form: str) -> None:
        """Write the lines of exchanges that end from here on in another form."""
        self._line = LINES.get(form)

    def __call__(self, exchange: Exchange) -> None:
        """Take note of an exchange."""
        if self._line is None:
            return
        self._lines.append(self._line(exchange))
        if len(self._lines) >= _BATCH:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_FLUSH_DELAY, self.flush)

    def flush(self) -> None:
        """Write the lines that wait."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lines, self._lines = self._lines, []
        if lines:
            self._write(("\n".join(lines) + "\n").encode())


def text_line(exchange: Exchange) -> str:
    """Write an exchange for people: what was asked, what became of it, how long and how much."""
    x = exchange
    way = f" -> {x.upstream} ({x.route})" if x.upstream else ""
    detail = f" [{_short('detail', x.detail)}]" if x.detail else ""
    held = "" if x.held is None else f" held={x.held * 1000:.1f}ms"
    numbers = "" if x.ended is None else f" {x.duration * 1000:.1f}ms{held} in={x.received} out={x.sent} {x.outcome}"
    event = by = ""
    if _is_websocket(x):
        event = f" {_event(x)}"
        by = "" if x.ended is None else f" by={x.closed_by} code={x.close_code or '-'}"
    asked = f"{_short('method', x.method)} {_redacted(x.target)}"
    if '"' in asked or "\\" in asked:
        # What is between the quotes must not look as if it had ended; nginx does the same.
        asked = asked.replace("\\", "\\x5c").replace('"', "\\x22")
    what = f'"{asked}" {x.status or "-"}'
    line = f"{_time(x)} {_short('client', x.client)} {what}{event}{way}{numbers}{by}{detail} id={x.id}"
    return line if line.isascii() and line.isprintable() else escaped(line).encode("ascii", "backslashreplace").decode()


def json_line(exchange: Exchange) -> str:
    """Write an exchange for machines: one JSON object, absent values left out."""
    x = exchange
    fields: dict[str, object] = {
        "time": _time(x),
        "id": x.id,
        "event": _event(x),
        "client": _short("client", x.client),
        "method": _short("method", x.method),
        "target": _redacted(x.target),
        "host": _short("host", x.host),
        "status": x.status or None,
        "upstream": x.upstream,
        "route": x.route,
    }
    if x.ended is not None:
        fields |= {
            "outcome": x.outcome,
            "duration": round(x.duration, 6),
            "first_byte": None if x.first_byte is None else round(x.first_byte, 6),
            "held": None if x.held is None else round(x.held, 6),
            "limit": x.limit,
            "received": x.received,
            "sent": x.sent,
            "closed_by": x.closed_by,
            "close_code": x.close_code,
            "detail": _short("detail", x.detail),
        }
    return json.dumps({key: value for key, value in fields.items() if value not in ("", None)})


LINES: dict[str, Callable[[Exchange], str]] = {"text": text_line, "json": json_line}
"""The writers of a line, by the name that ``gateway.access_log`` gives them; ``off`` has none."""


def _short(name: str, value: str) -> str:
    return value if len(value) <= _LONGEST[name] else shortened(value, _LONGEST[name])


def _is_websocket(exchange: Exchange) -> bool:
    return exchange.is_tunnel or exchange.is_handed_off


def _event(exchange: Exchange) -> str:
    if exchange.is_tunnel:
        return "tunnel open" if exchange.ended is None else "tunnel closed"
    if exchange.is_handed_off:
        return "handed off" if exchange.ended is None else "hand-off closed"
    return "request"


def _time(exchange: Exchange) -> str:
    """Return when what the line tells of happened: the end of an exchange, or that its WebSocket opened."""
    moment = exchange.when
    if (event := exchange.opened if exchange.ended is None else exchange.ended) is not None:
        moment += event - exchange.began
    second = int(moment)
    return f"{_second(second)}.{int((moment - second) * 1000):03d}Z"


@lru_cache(maxsize=4)
def _second(moment: int) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _redacted(target: str) -> str:
    """Return what is written of a request target: shortened, and without what is secret by its name.

    Only what is written is looked at, so that a long target costs no more than another.
    """
    most = _LONGEST["target"]
    shown = target[:most]
    rest = shortened(target, most)[most:]
    if shown.startswith("/"):
        if "=" not in shown and "%" not in shown:
            return shown + rest
    else:
        shown = _without_userinfo(shown)
    if not _may_hold_secret(shown):
        return shown + rest
    path, mark, query = shown.partition("?")
    budget = iter(range(_MOST_JUDGED))
    return _path(path, budget) + mark + _query(query, budget) + rest


def _without_userinfo(target: str) -> str:
    """Hide the name and the password in a target that names a host (RFC 3986, section 3.2.1); it is refused anyway."""
    scheme, mark, rest = target.rpartition("://") if "://" in target[:64] else ("", "", target)
    end = min((at for at in map(rest.find, "/?") if at >= 0), default=len(rest))
    authority = rest[:end].replace("%40", "@")
    return target if "@" not in authority else f"{scheme}{mark}***@{authority.rpartition('@')[2]}{rest[end:]}"


def _path(path: str, budget: Iterator[int]) -> str:
    """Hide secret parameters in a path (RFC 3986, section 3.3): ``/page;jsessionid=...``."""
    first, semicolon, parameters = path.partition(";")
    encoded = _ENCODED_MARK.search(first)
    if encoded is not None and _is_secret(first[encoded.end() :]):
        return first[: encoded.end()] + "***"
    return first + semicolon + (_parameter(parameters, budget) if parameters else "")


def _query(query: str, budget: Iterator[int]) -> str:
    return "&".join(_parameter(parameter, budget) for parameter in query.split("&", _MOST_JUDGED))


def _parameter(text: str, budget: Iterator[int]) -> str:
    """Hide the value of a parameter if it is secret. To some servers a semicolon begins the next one, to others not."""
    shown = []
    for part in text.split(";", _MOST_JUDGED):
        if next(budget, None) is None:
            shown.append("...")
            break
        if _is_secret(part):
            name, equals, _ = part.partition("=")
            shown.append(f"{name}=***" if equals else "***")
            break
        shown.append(part)
    return ";".join(shown)


def _is_secret(parameter: str) -> bool:
    """Tell whether a parameter has a secret name, or holds one that has (a URL with a query of its own)."""
    return any(_SECRET.search(read.rpartition("=")[0]) for read in _readings(parameter))


def _may_hold_secret(text: str) -> bool:
    return any(_SECRET.search(read) for read in _readings(text))


def _readings(text: str) -> Iterator[str]:
    """Yield a text as it is, decoded, and decoded again: as those after this one may read it."""
    yield text
    for _ in range(_DECODINGS):
        before, text = text, _ESCAPE.sub(_decoded, text.replace("+", " "))
        if text == before:
            return
        yield text


def _decoded(match: re.Match[str]) -> str:
    return _OCTETS[match[0]]
