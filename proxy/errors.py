"""What can go wrong in an exchange, and which answer, outcome and culprit each fault has.

- ProxyError                   status  outcome
    - ClientError              400     REFUSED           the client's doing
        - BodyStalled          408     CLIENT_STALLED
    - TooMany                  429     REFUSED           the client has all it may have
    - UpstreamError            502     UPSTREAM_FAILED   the upstream's doing
        - UpstreamUnreachable  503     UPSTREAM_UNREACHABLE
        - UpstreamFull         503     UPSTREAM_FULL
        - UpstreamLost         502     UPSTREAM_FAILED
        - UpstreamTimeout      504     UPSTREAM_TIMEOUT
            - ConnectTimeout   504     UPSTREAM_TIMEOUT
        - UpstreamCut          502     UPSTREAM_CUT      died inside a body: there is nothing to answer any more
    - Stopping                 503     STOPPING          the gateway's doing
    - Exhausted                503     EXHAUSTED         the gateway's doing: no file descriptor is left
- ListenError: the gateway cannot start where it was told to
- TlsError: a certificate, a key or a list of authorities cannot be used

An error carries its response (``status``, ``advice``) and its culprit (the
branch of the tree), so that one place can turn any of them into a response
(``gateway/error_response``).
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Outcome(StrEnum):
    """How an exchange ended; the word that the access log prints."""

    SERVED = "served"
    REFUSED = "refused"
    CLIENT_GONE = "client gone"
    CLIENT_STALLED = "client stalled"
    UPSTREAM_UNREACHABLE = "upstream unreachable"
    UPSTREAM_FULL = "upstream full"
    UPSTREAM_FAILED = "upstream failed"
    UPSTREAM_TIMEOUT = "upstream timed out"
    UPSTREAM_CUT = "upstream cut"
    STOPPING = "stopping"
    EXHAUSTED = "out of descriptors"
    BUG = "gateway bug"

    HANDED_OFF = "handed off"

    CLIENT_CLOSED = "client closed"
    UPSTREAM_CLOSED = "upstream closed"
    IDLE = "idle"
    DRAINED = "drained"
    RESET = "reset"

    TOO_SLOW = "too slow"
    """One side took less than 240 bytes a second of what waited for it, for ``timeouts.send``; a tunnel's, or a
    client's of a response. Or more waited on its client's connections than ``limits.buffered_per_client``; the log
    names the client."""


class ProxyError(Exception):
    """An exchange cannot be completed.

    message: one sentence, what happened and where. It is sent to the client.
    advice: what the reader can do, or empty. It is sent to the client too.
    detail: what the log says instead of the message, where the operator may know more than the client.
    headers: fields that the response must carry (RFC 9110 asks for some).
    limit: the setting of ``gateway.limits`` that was exceeded, for example ``body``; empty where none was.
    is_transient: whether the same request may succeed later; None: as the kind of error has it.
    """

    status = 500
    outcome = Outcome.BUG
    is_transient = False
    """Whether the same request may succeed later, without a change to the configuration or the request."""

    def __init__(
        self,
        message: str,
        *,
        advice: str = "",
        detail: str = "",
        status: int | None = None,
        headers: Iterable[tuple[bytes, bytes]] = (),
        is_transient: bool | None = None,
        limit: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice
        self.detail = detail
        self.headers = tuple(headers)
        self.limit = limit
        if status is not None:
            self.status = status
        if is_transient is not None:
            self.is_transient = is_transient


class ClientError(ProxyError):
    """The request cannot be understood, or must not be passed on. The connection is closed after the response."""

    status = 400
    outcome = Outcome.REFUSED


class BodyStalled(ClientError):
    """The client promised a body and stopped sending it."""

    status = 408
    outcome = Outcome.CLIENT_STALLED


class TooMany(ProxyError):
    """The client has as much as one client may have (RFC 6585, section 4). Its connection goes on.

    limit: the setting of ``gateway.limits``. retry_after: seconds after which it may ask again.
    """

    status = 429
    outcome = Outcome.REFUSED

    def __init__(self, message: str, limit: str, *, advice: str = "", detail: str = "", retry_after: int = 1) -> None:
        headers = [(b"Retry-After", b"%d" % max(1, retry_after))]
        super().__init__(message, advice=advice, detail=detail, headers=headers, limit=limit)


class UpstreamError(ProxyError):
    """The upstream broke the exchange: it closed too early or answered something that is not HTTP."""

    status = 502
    outcome = Outcome.UPSTREAM_FAILED


class UpstreamUnreachable(UpstreamError):
    """No connection to the upstream could be made, so nothing was sent.

    503 as Envoy has it, not nginx's 502: there was no wrong answer, and to ask again later makes sense.
    """

    status = 503
    outcome = Outcome.UPSTREAM_UNREACHABLE
    is_transient = True


class UpstreamFull(UpstreamError):
    """The upstream has as many requests as it may have, and as many wait for it as may."""

    status = 503
    outcome = Outcome.UPSTREAM_FULL
    is_transient = True


class UpstreamLost(UpstreamError):
    """The upstream closed the connection before the first byte of a response; it may have acted on the request."""

    is_transient = True


class UpstreamTimeout(UpstreamError):
    """The upstream took longer than the configuration allows."""

    status = 504
    outcome = Outcome.UPSTREAM_TIMEOUT
    is_transient = True


class ConnectTimeout(UpstreamTimeout):
    """The upstream did not take the connection in time, so nothing was sent."""


class UpstreamCut(UpstreamError):
    """The upstream's body ended before its end.

    Part of the response has been sent, so all that is left is to cut the client's connection too: the client must not
    take that part for the whole.
    """

    outcome = Outcome.UPSTREAM_CUT


class Stopping(ProxyError):
    """The gateway is shutting down and takes nothing new."""

    status = 503
    outcome = Outcome.STOPPING
    is_transient = True


class Exhausted(ProxyError):
    """This process may open nothing more (EMFILE), or the system cannot (ENFILE, ENOMEM); no upstream is to blame."""

    status = 503
    outcome = Outcome.EXHAUSTED
    is_transient = True


class ListenError(Exception):
    """The gateway cannot listen on an address; the message is for the operator."""


class TlsError(Exception):
    """A file that TLS needs cannot be used; the message is for the operator, and names the file.

    key: the setting that names it, for example ``gateway.tls.key``.
    """

    def __init__(self, key: str, message: str) -> None:
        super().__init__(f"{message} ({key} in the configuration)")
        self.key = key
        self.message = message
