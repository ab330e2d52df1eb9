"""Opening a connection to an upstream: resolve, connect, TLS; and why there is none, as an error for the client."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from enum import Enum

from proxy.config import split_url
from proxy.errors import ConnectTimeout, Exhausted, ProxyError, UpstreamError, UpstreamUnreachable
from proxy.net import tls
from proxy.net.resolver import Resolver
from proxy.upstream.connection import UpstreamConnection

_EXHAUSTED = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL))
"""What has run out in this process or on this host, and says nothing about the upstream."""


class Kind(Enum):
    """Whose fault it is that there is no connection."""

    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    TLS = "TLS"
    """It takes connections, and TLS cannot be spoken on them. That does not pass with time: a certificate or an address
    has to be changed."""
    EXHAUSTED = "exhausted"


class DialError(Exception):
    """No connection.

    why: part of a sentence, for the log and for ``error_of``. question: what the operator may look at.
    is_transient: whether it may be over by itself.
    """

    def __init__(
        self, why: str, kind: Kind = Kind.UNREACHABLE, *, question: str = "is it running?", is_transient: bool = True
    ) -> None:
        super().__init__(why)
        self.why, self.kind, self.question, self.is_transient = why, kind, question, is_transient

    @property
    def is_unreachable(self) -> bool:
        """Whether the upstream takes no connection."""
        return self.kind in (Kind.UNREACHABLE, Kind.TIMEOUT)


_CLOSED_AT_ONCE = "it closed the connection at once"


class Dialer:
    """Opens connections to one upstream.

    name: of the upstream, for messages. url: ``http://host:port``, ``https://host:port`` or ``unix:path``.
    """

    def __init__(self, name: str, url: str) -> None:
        self._name = name
        self._url = url
        self._path = url[5:] if url.startswith("unix:") else ""
        self._host, self._port = ("", 0) if self._path else split_url(url)
        self._resolver = Resolver(self._host)
        self._buffer = 0
        self._tls: ssl.SSLContext | None = None

    def reconfigure(self, buffer: int, context: ssl.SSLContext | None) -> None:
        """Change how connections are made from here on.

        buffer: bytes that each holds per direction. context: for TLS, which ``https`` asks for.
        """
        self._buffer, self._tls = buffer, context if self._url.startswith("https:") else None

    async def dial(self, timeout: float) -> UpstreamConnection:
        """Connect; to a host, to one of its addresses after the other, each with its share of the time.

        timeout: seconds, TLS included. Raises DialError; cancelling abandons the attempt.
        """
        try:
            if self._path or self._resolver.is_address:
                async with asyncio.timeout(timeout):
                    made = await self._connect(self._host)
            else:
                made = await self._connect_by_name(timeout)
        except TimeoutError:
            raise self._timed_out(timeout) from None
        except ssl.SSLError as error:
            raise DialError(tls.why(error), Kind.TLS, question=tls.doubt(error)) from error
        except OSError as error:
            raise self._refused(error) from error
        if made.has_ended():  # a program that is stopping; what is sent to it now is lost, and nothing would tell
            made.abort()
            raise DialError(_CLOSED_AT_ONCE)
        return made

    async def _connect_by_name(self, timeout: float) -> UpstreamConnection:
        now = asyncio.get_running_loop().time
        until = now() + timeout
        async with asyncio.timeout(timeout):
            addresses = await self._resolver.addresses()
        for number, address in enumerate(addresses, 1):
            try:
                async with asyncio.timeout((until - now()) / (len(addresses) - number + 1)):
                    return await self._connect(address)
            except OSError:  # a TimeoutError too
                if number == len(addresses):
                    raise
        raise socket.gaierror(socket.EAI_NONAME, "no address")

    async def _connect(self, address: str) -> UpstreamConnection:
        loop = asyncio.get_running_loop()
        connection = UpstreamConnection(self._name, self._buffer)
        if self._path:
            await loop.create_unix_connection(lambda: connection, self._path)
        else:
            server_name = None if self._tls is None else self._host
            await loop.create_connection(
                lambda: connection, address, self._port, ssl=self._tls, server_hostname=server_name
            )
        return connection

    # -- what goes wrong

    def _timed_out(self, timeout: float) -> DialError:
        if self._resolver.is_looking_up:
            what = "look up its host name"
        else:
            what = "take a connection" if self._tls is None else "take a connection and finish a TLS handshake"
        question = "is it overloaded?" if self._tls is None else "is it overloaded, or does it speak no TLS?"
        return DialError(f"did not {what} within {timeout:g} s", Kind.TIMEOUT, question=question)

    def _refused(self, error: OSError) -> DialError:
        if error.errno in _EXHAUSTED:
            return DialError(_words(error), Kind.EXHAUSTED)
        if isinstance(error, ConnectionResetError):
            if self._tls is None:
                return DialError(_CLOSED_AT_ONCE)
            return DialError(
                "it closed the connection in the TLS handshake", question="is it running, and does it speak TLS?"
            )
        if isinstance(error, ConnectionRefusedError):
            return DialError("connection refused")
        if isinstance(error, socket.gaierror):
            if error.errno == socket.EAI_AGAIN:
                return DialError("its host name cannot be looked up for now", question="does the name server answer?")
            return DialError("its host name is not known", question="is its name right, and is it running?")
        if isinstance(error, FileNotFoundError):
            return DialError("its socket file does not exist")
        # The next two hardly pass by themselves. Requests wait all the same, as a socket file may be made before its
        # mode is set; but no page promises that it opens soon.
        if isinstance(error, PermissionError):
            question = "may the user of this process use its socket file?"
            return DialError("permission denied", question=question, is_transient=False)
        if error.errno == errno.EPROTOTYPE:
            question = "is that the socket file of a web server?"
            return DialError("its socket file is of another kind", question=question, is_transient=False)
        return DialError(_words(error))

    def error_of(self, failure: DialError) -> ProxyError:
        """Return what a request ends with for which there is no connection."""
        at = f"the upstream {self._name} at {self._url}"
        if failure.kind is Kind.EXHAUSTED:
            return Exhausted(
                "The gateway cannot open another connection.",
                advice="For the operator: its log says what has run out.",
                detail=f"no connection to {at} can be opened: {failure.why}; see LimitNOFILE or ulimit -n",
                headers=[(b"Retry-After", b"1")],
            )
        if failure.kind is Kind.TLS:
            is_certificate = isinstance(failure.__cause__, ssl.SSLCertVerificationError)
            known = "; gateway.upstream_ca names the authorities that are trusted" if is_certificate else ""
            # What exactly is wrong with its certificate is for the log, not for clients.
            return UpstreamError(
                f"The upstream {self._name} cannot be spoken to {'safely' if is_certificate else 'over TLS'}.",
                advice=self.advice(failure.question),
                detail=f"{at}: {failure.why}; {failure.question}{known}",
            )
        is_late = failure.kind is Kind.TIMEOUT
        what = failure.why if is_late else f"cannot be reached: {failure.why}"
        return (ConnectTimeout if is_late else UpstreamUnreachable)(
            f"The upstream {self._name} {what}.",
            advice=self.advice(failure.question),
            detail=f"{at} {what}",
            is_transient=failure.is_transient,
        )

    def advice(self, question: str) -> str:
        """Return what the operator may look at."""
        return f"For the operator: {question} Its address is gateway.upstreams.{self._name} in the configuration."


def _words(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()
