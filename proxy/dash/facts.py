"""What is known of the Dash at the upstream ``dash``, and what follows from it (docs/decisions/029-dash-is-asked.md).

A page says what it says: it may be of a program that was put in Dash's place. So what is read is bounded, a claim alone
never opens anything, and a limit that it changes only becomes shorter.
"""

from __future__ import annotations

from dataclasses import dataclass

from proxy.config import AUTO, is_path_prefix
from proxy.dash.page_config import PageConfig

DASH_SOCKET = "_dash-ws-callback"
"""The last segment of the path on which Dash >= 4.2 (FastAPI, Quart) carries callbacks, after whatever prefix."""

_HEARTBEATS = 4
"""Heartbeats that are missing before a socket of Dash counts as idle. Precedents: MQTT 1.5, Phoenix 2. Browsers slow
the timers of hidden pages down; a page in the foreground misses none."""

_SHORTEST_IDLE = 60.0
"""Seconds. Chromium runs the timers of hidden pages once a minute."""


@dataclass(frozen=True, slots=True)
class DashFacts:
    """What Dash has said and shown.

    page: the configuration in its page; None: not known, and ``why`` says why.
    page_path: where the page was found, a request target.
    checks_origin: paths of WebSockets at which Dash has shown that it refuses pages of other sites and accepts its own.
    is_silent: it takes connections, and has not answered when it was asked last.
    """

    page: PageConfig | None = None
    why: str = "it was not asked yet"
    page_path: str = "/"
    checks_origin: frozenset[str] = frozenset()
    is_silent: bool = False

    @property
    def is_asked(self) -> bool:
        """Whether Dash has been asked at all."""
        return self not in (UNKNOWN, NOT_ASKED)

    @property
    def prefix(self) -> str | None:
        """What the paths of the app begin with, as its page says; None where that is not known, or no prefix."""
        said = None if self.page is None else self.page.requests_pathname_prefix
        return said if said is not None and is_path_prefix(said) else None

    @property
    def heartbeat(self) -> float | None:
        """Seconds between two heartbeats of a page on Dash's WebSocket; None: there are none, or it is not known."""
        socket = None if self.page is None else self.page.websocket
        return None if socket is None else socket.heartbeat_interval

    def without_proof(self) -> DashFacts:
        """Return the same for a Dash that has gone: what comes back may be another program."""
        return DashFacts(self.page, self.why, self.page_path)


UNKNOWN = DashFacts()
NOT_ASKED = DashFacts(why="gateway.health.interval is 0, so nothing is asked")


def socket_paths(page: PageConfig, page_path: str) -> tuple[str, ...]:
    """Return the paths at which Dash's WebSocket may be, as the gateway sees them; none where Dash has none.

    One is where the page says; another is beside the page itself, because a proxy in front may have removed a prefix
    that the page names.
    """
    if page.websocket is None:
        return ()
    beside = page_path.partition("?")[0].rpartition("/")[0] + "/"
    said = (page.websocket.url or "").removesuffix(DASH_SOCKET)
    return tuple(dict.fromkeys(prefix + DASH_SOCKET for prefix in (said, beside) if is_path_prefix(prefix)))


def judged_by_dash(dash_prefix: str, facts: DashFacts) -> frozenset[str]:
    """Return the paths of WebSockets whose origin is left to Dash.

    dash_prefix: as configured; where the file names one, its author has said that Dash is there. ``auto``: where Dash
    has shown it.
    """
    return facts.checks_origin if dash_prefix == AUTO else frozenset((dash_prefix + DASH_SOCKET,))


def idle_timeout(tunnel_idle: float, facts: DashFacts) -> float:
    """Return the seconds without a byte after which a tunnel of Dash's own WebSocket is closed.

    tunnel_idle: as configured, and never exceeded. A Dash without heartbeats leaves it as it is.
    """
    if facts.heartbeat is None:
        return tunnel_idle
    return min(tunnel_idle, max(_HEARTBEATS * facts.heartbeat, _SHORTEST_IDLE))


def summary(facts: DashFacts, dash_prefix: str, tunnel_idle: float) -> str:
    """Return one sentence for the log, and for a person who asks. dash_prefix, tunnel_idle: as configured."""
    page = facts.page
    if page is None:
        return f"Dash's page is not known: {facts.why}"
    debug = ", in debug mode" if page.has_dev_tools else ""
    about = f"Dash {page.dash_version or 'before 3'} at {facts.prefix or facts.page_path}{debug}"
    if page.websocket is None:
        return f"{about}; it has no WebSocket of its own"
    where = " and ".join(sorted(judged_by_dash(dash_prefix, facts)))
    origins = f"checks origins at {where}" if where else "is for the pages that gateway.origins allows"
    beat = f"has a heartbeat every {facts.heartbeat:g} s" if facts.heartbeat else "has no heartbeat"
    idle = idle_timeout(tunnel_idle, facts)
    return f"{about}; its WebSocket {origins}, {beat}, and is closed after {idle:g} s without a byte"


def warnings(facts: DashFacts, dash_prefix: str, tunnel_idle: float) -> list[str]:
    """Return what of the configuration does not fit the page. dash_prefix, tunnel_idle: as configured."""
    told = []
    if facts.is_silent:
        told.append(
            "Dash takes connections and has not answered for its page; its output may say why: in debug mode on "
            "FastAPI a mistake in the module leaves it so until that is corrected"
        )
    # A page that is just there may name another prefix: a proxy in front has removed a part of it.
    if dash_prefix not in (AUTO, facts.prefix, facts.page_path) and facts.prefix is not None:
        told.append(
            f"gateway.dash_prefix is {dash_prefix}, and Dash's page says {facts.prefix}; write {facts.prefix}, or auto"
        )
    if facts.heartbeat is not None and facts.heartbeat >= tunnel_idle:
        told.append(
            f"gateway.timeouts.tunnel_idle is {tunnel_idle:g} s, and pages of Dash send a heartbeat each "
            f"{facts.heartbeat:g} s: their WebSockets are closed between two; write a longer time"
        )
    return told


def as_json(facts: DashFacts, dash_prefix: str, tunnel_idle: float) -> dict[str, object]:
    """Return what is known for ``/readyz`` and ``/status``. dash_prefix, tunnel_idle: as configured."""
    page = facts.page
    if page is None:
        return {"known": False, "why": facts.why}
    about: dict[str, object] = {
        "known": True,
        "version": page.dash_version,
        "prefix": facts.prefix,
        "page": facts.page_path,
        "debug": page.has_dev_tools,
        "websocket": None,
    }
    if page.websocket is not None:
        about["websocket"] = {
            "paths": sorted(socket_paths(page, facts.page_path)),
            "origin_checked_by_dash": sorted(judged_by_dash(dash_prefix, facts)),
            "heartbeat": facts.heartbeat,
            "idle_timeout": idle_timeout(tunnel_idle, facts),
        }
    return about
