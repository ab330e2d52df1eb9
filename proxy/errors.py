"""What can go wrong in an exchange, and what each mishap means for everybody.

- ProxyError                   status  outcome
    - ClientError              400     REFUSED           the client's doing
        - BodyStalled          408     CLIENT_STALLED
    - TooMany                  429     REFUSED           the client has all it may have
    - UpstreamError            502     UPSTREAM_FAILED   the upstream's doing
        - UpstreamUnreachable  503     UPSTREAM_AWAY
        - UpstreamFull         503     UPSTREAM_FULL
        - UpstreamLost         502     UPSTREAM_FAILED
        - UpstreamTimeout      504     UPSTREAM_TIMEOUT
            - ConnectTimeout   504     UPSTREAM_TIMEOUT
        - UpstreamCut          502     UPSTREAM_CUT      died inside a body: there is nothing to answer any more
    - Stopping                 503     STOPPING          ours
    - Exhausted                503     EXHAUSTED         ours: the process has no descriptor left
- ListenError: the gateway cannot start where it was told to
- TlsError: a certificate, a key or a list of authorities cannot be used

An error carries its answer (``status``, ``advice``) and its culprit (the
branch of the tree), so that one place, ``gateway``, can turn any of them
into a response.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum


class Outcome(Enum):
    """How an exchange ended; the word that the access log prints."""

    SERVED = "served"
    REFUSED = "refused"
    CLIENT_GONE = "client gone"
    CLIENT_STALLED = "client stalled"
    UPSTREAM_AWAY = "upstream away"
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
    client's of an answer. Or more waited on its client's connections than ``limits.buffered_per_client``; the log says
    for whom."""


class ProxyError(Exception):
    """An exchange cannot go on as the client wished.

    message: one sentence, what happened and where. It reaches the client.
    advice: what whoever reads it can do, or empty. It reaches the client too.
    detail: what the log says instead of the message, where the operator may know more than the client.
    headers: fields that the answer must carry (RFC 9110 asks for some).
    passes: whether it may be over when one tries again; None: as the kind of error has it.
    """

    status = 500
    outcome = Outcome.BUG
    passes = False
    """Whether it may be over when one tries again, with nobody changing anything."""

    def __init__(
        self,
        message: str,
        *,
        advice: str = "",
        detail: str = "",
        status: int | None = None,
        headers: Iterable[tuple[bytes, bytes]] = (),
        passes: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice
        self.detail = detail
        self.headers = tuple(headers)
        if status is not None:
            self.status = status
        if passes is not None:
            self.passes = passes


class ClientError(ProxyError):
    """The request cannot be understood, or must not be passed on. The connection is closed behind the answer."""

    status = 400
    outcome = Outcome.REFUSED


class BodyStalled(ClientError):
    """The client promised a body and stopped sending it."""

    status = 408
    outcome = Outcome.CLIENT_STALLED


class TooMany(ProxyError):
    """The client has as much as one client may have (RFC 6585, section 4). Its connection goes on.

    retry_after: seconds after which it may ask again.
    """

    status = 429
    outcome = Outcome.REFUSED

    def __init__(self, message: str, *, advice: str = "", detail: str = "", retry_after: int = 1) -> None:
        super().__init__(message, advice=advice, detail=detail, headers=[(b"Retry-After", b"%d" % max(1, retry_after))])


class UpstreamError(ProxyError):
    """The upstream broke the exchange: it closed too early or answered something that is not HTTP."""

    status = 502
    outcome = Outcome.UPSTREAM_FAILED


class UpstreamUnreachable(UpstreamError):
    """No connection to the upstream could be made, so nothing was sent.

    503 as Envoy has it, not nginx's 502: nothing is wrong with any answer, and whoever asks again later is right to.
    """

    status = 503
    outcome = Outcome.UPSTREAM_AWAY
    passes = True


class UpstreamFull(UpstreamError):
    """The upstream has all that it may have, and as many wait for it as may."""

    status = 503
    outcome = Outcome.UPSTREAM_FULL
    passes = True


class UpstreamLost(UpstreamError):
    """The upstream closed the connection before the first byte of an answer; nobody can tell what it has done."""

    passes = True


class UpstreamTimeout(UpstreamError):
    """The upstream took longer than the configuration allows."""

    status = 504
    outcome = Outcome.UPSTREAM_TIMEOUT
    passes = True


class ConnectTimeout(UpstreamTimeout):
    """The upstream did not take the connection in time, so nothing was sent."""


class UpstreamCut(UpstreamError):
    """The upstream's body ended before its end.

    Part of the answer is already with the client, so the only honest thing
    left is to cut the client's connection too.
    """

    outcome = Outcome.UPSTREAM_CUT


class Stopping(ProxyError):
    """The gateway is shutting down and takes nothing new."""

    status = 503
    outcome = Outcome.STOPPING
    passes = True


class Exhausted(ProxyError):
    """This process may open nothing more (EMFILE), or the system cannot (ENFILE, ENOMEM); no upstream is to blame."""

    status = 503
    outcome = Outcome.EXHAUSTED
    passes = True


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
