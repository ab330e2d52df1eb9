"""The values of labels: few, whatever clients, upstreams and the configuration write (decision 025)."""

from __future__ import annotations

from http import HTTPStatus

from proxy.errors import Outcome

OTHER = "_OTHER"
"""What is not told apart. OpenTelemetry's word for unknown methods."""

NONE = "-"
"""No upstream was chosen: the gateway itself has answered. The access log has the same sign for what is not known."""

_METHODS = frozenset(("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"))
"""RFC 9110, section 9, and RFC 5789."""

_CODES = frozenset(HTTPStatus) | {444, 499}
"""The registered ones, and the two for exchanges without a response (``Exchange.status``)."""


def method_label(method: str) -> str:
    """Return what stands for a method: itself if it is a known one."""
    return method if method in _METHODS else OTHER


def code_label(status: int) -> str:
    """Return what stands for a status: its number if it is registered, else its class, such as ``5xx``."""
    if status in _CODES:
        return str(int(status))
    return f"{status // 100}xx" if 100 <= status <= 599 else OTHER


def cause_label(outcome: Outcome) -> str:
    """Return what stands for the end of a WebSocket: the outcome that the access log prints.

    One is named anew: the service had the socket, and its app refused the handshake.
    """
    return "refused" if outcome is Outcome.SERVED else outcome.value.replace(" ", "_")


_HOLDS = {
    Outcome.SERVED: "resumed",
    Outcome.HANDED_OFF: "resumed",
    Outcome.UPSTREAM_UNREACHABLE: "timed_out",
    Outcome.UPSTREAM_FULL: "full",
    Outcome.STOPPING: "stopping",
    Outcome.CLIENT_GONE: "client_gone",
}


def hold_label(outcome: Outcome, *, has_opened: bool) -> str:
    """Return what became of a request that had to wait for its upstream. has_opened: it is a WebSocket that opened."""
    return "resumed" if has_opened else _HOLDS.get(outcome, "failed")
