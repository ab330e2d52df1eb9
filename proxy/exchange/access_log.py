"""One line per finished exchange, and one when a WebSocket opens, except in the forms of Apache."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache

from proxy.exchange.record import Exchange
from proxy.exchange.redaction import redacted
from ws_service.logs.formatter import escaped, shortened

_FLUSH_DELAY = 0.05
"""Seconds that a line may wait for others. Precedent: nginx without ``buffer=`` writes each at once."""

_BATCH = 512
"""Lines; more are written at once."""

_LONGEST = {"method": 32, "host": 256, "client": 64, "detail": 1024, "user_agent": 512}
"""Characters that are written of each; strangers must not fill the disk."""

_TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")
"""W3C Trace Context, section 3.2.2. Of later versions the beginning is read in the same way."""


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
        line = self._line(exchange)
        if not line:
            return
        self._lines.append(line)
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
    place = f" at {x.address}" if x.address else ""
    way = f" -> {x.upstream}{place} ({x.route})" if x.upstream else ""
    detail = f" [{_short('detail', x.detail)}]" if x.detail else ""
    held = "" if x.held is None else f" held={x.held * 1000:.1f}ms"
    numbers = "" if x.ended is None else f" {x.duration * 1000:.1f}ms{held} in={x.received} out={x.sent} {x.outcome}"
    event = by = ""
    if _is_websocket(x):
        event = f" {_event(x)}"
        by = "" if x.ended is None else f" by={x.closed_by} code={x.close_code or '-'}"
    asked = _quoted(f"{_short('method', x.method)} {redacted(x.target)}")
    what = f"{asked} {x.status or '-'}"
    trace = f" trace={found}" if (found := trace_id(x)) else ""
    return _printable(
        f"{_time(x)} {_short('client', x.client)} {what}{event}{way}{numbers}{by}{detail}{trace} id={x.id}"
    )


def json_line(exchange: Exchange) -> str:
    """Write an exchange for machines: one JSON object, absent values left out."""
    x = exchange
    fields: dict[str, object] = {
        "time": _time(x),
        "id": x.id,
        "trace_id": trace_id(x),
        "event": _event(x),
        "client": _short("client", x.client),
        "method": _short("method", x.method),
        "target": redacted(x.target),
        "host": _short("host", x.host),
        "status": x.status or None,
        "upstream": x.upstream,
        "address": x.address,
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


def common_line(exchange: Exchange) -> str:
    """Write an exchange that has ended in the Common Log Format; nothing for a WebSocket that has opened.

    https://httpd.apache.org/docs/2.4/logs.html#common: host, identity and user, which are not known, when the request
    came, its first line, status, bytes of the body.
    """
    x = exchange
    if x.ended is None:
        return ""
    line = (
        "-"
        if x.target == "-"
        else f"{_short('method', x.method)} {redacted(x.target)} HTTP/{'.'.join(map(str, x.version))}"
    )
    moment = _apache_second(int(x.when))
    return _printable(f"{_short('client', x.client)} - - [{moment}] {_quoted(line)} {x.status:03d} {x.sent or '-'}")


def combined_line(exchange: Exchange) -> str:
    """Write an exchange that has ended in the Combined Log Format: the common one, Referer and User-Agent."""
    line = common_line(exchange)
    if not line:
        return ""
    referer = redacted(_field(exchange, b"referer"))
    return _printable(
        f"{line} {_quoted(referer or '-')} {_quoted(_short('user_agent', _field(exchange, b'user-agent')) or '-')}"
    )


LINES: dict[str, Callable[[Exchange], str]] = {
    "text": text_line,
    "json": json_line,
    "combined": combined_line,
    "common": common_line,
}
"""The writers of a line, by the name that ``gateway.access_log`` gives them; ``off`` has none. Nothing: there is no
line for this."""


def trace_id(exchange: Exchange) -> str:
    """Return the id of the trace that a request belongs to, by its ``traceparent``; nothing where it names none."""
    values = exchange.fields.get(b"traceparent") if exchange.fields else None
    if not values or len(values) > 1:
        return ""
    found = _TRACEPARENT.fullmatch(values[0])
    return "" if found is None else found[1].decode()


def _field(exchange: Exchange, name: bytes) -> str:
    values = exchange.fields.get(name) if exchange.fields else None
    return values[0].decode("latin-1") if values else ""


def _quoted(text: str) -> str:
    """Put a text between quotes: it must not look as if they had ended. nginx escapes in the same way."""
    if '"' in text or "\\" in text:
        text = text.replace("\\", "\\x5c").replace('"', "\\x22")
    return f'"{text}"'


def _printable(line: str) -> str:
    return line if line.isascii() and line.isprintable() else escaped(line).encode("ascii", "backslashreplace").decode()


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


@lru_cache(maxsize=4)
def _apache_second(moment: int) -> str:
    at = datetime.fromtimestamp(moment, UTC)
    return f"{at.day:02d}/{_MONTHS[at.month - 1]}/{at:%Y:%H:%M:%S} +0000"


_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
"""Those of strftime are in the language of the process."""
