"""TLS contexts: the certificate that the gateway shows, the versions that it speaks, the authorities that it trusts.

Python's defaults for ciphers and groups are those of Mozilla's "intermediate" configuration; what is set here is what
they leave open.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from contextlib import suppress
from typing import Any, cast

from proxy.config import Tls
from proxy.errors import TlsError

logger = logging.getLogger("proxy")

_ALPN = ("http/1.1",)
"""The gateway speaks nothing else (docs/decisions/014-http11-only.md), and says so to clients that could."""

_DATES = {9: "is not valid yet", 10: "has expired"}
"""OpenSSL's codes (X509_verify_cert(3)) for a certificate that clients refuse today and accepted, or will accept, on
another day: no mistake in the file."""

_NO_TLS = frozenset(("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL"))
"""OpenSSL's reasons where what came from the other side was no TLS record: HTTP, most likely."""


def upstream_context(authorities: str | None) -> ssl.SSLContext:
    """Return the context for ``https://`` upstreams: their chain and their name are checked, without exception.

    authorities: PEM file of those that are trusted; None: the system's. Raises TlsError when it cannot be used.
    """
    key = "gateway.upstream_ca"
    try:
        context = ssl.create_default_context(cafile=authorities)
    except ssl.SSLError as error:
        raise TlsError(key, f"{authorities} holds no certificate that can be used: {_words(error)}") from None
    except OSError as error:
        raise TlsError(key, f"{authorities} cannot be read: {(error.strerror or str(error)).lower()}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(_ALPN)
    # Python takes a connection that is simply cut for one that has ended; an answer might be a part of itself then
    # (RFC 9112, section 9.8).
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    return context


def bound(transport: asyncio.BaseTransport, buffer: int) -> None:
    """Bound what TLS holds for one connection, where it is spoken: 512 KiB to send and 256 KiB read ahead by default.

    buffer: bytes that may wait to be sent. Nothing is read ahead: uvloop forgets what it has read ahead for a slow
    reader when the connection ends meanwhile, and the end of an answer would be lost.
    """
    if transport.get_extra_info("sslcontext") is not None:
        of_tls = cast(Any, transport)
        of_tls.set_read_buffer_limits(high=1)
        of_tls.set_write_buffer_limits(high=buffer)


def why(error: ssl.SSLError) -> str:
    """Return in words why a handshake failed."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {error.verify_message.rstrip('.')}"
    return f"TLS failed: {_words(error)}"


def doubt(error: ssl.SSLError) -> str:
    """Return what the operator should check when a handshake with an upstream has failed like that."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return "is its certificate the right one?"
    if error.reason in _NO_TLS:
        return "does it speak plain HTTP? Then write http:// and not https://."
    return "its own log says why it refuses TLS."


def server_context(files: Tls) -> ssl.SSLContext:
    """Return the context of the public listener. Raises TlsError when the files cannot be used.

    They may be exchanged while they are read; whatever comes of that is an error like any other.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(_ALPN)

    def passphrase() -> str:  # without it, OpenSSL would ask on the terminal
        raise TlsError("gateway.tls.key", f"{files.key} is encrypted, and nothing can be asked for its passphrase")

    try:
        context.load_cert_chain(files.certificate, files.key, passphrase)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            message = f"{files.key} does not belong to the certificate in {files.certificate}"
            raise TlsError("gateway.tls.key", message) from None
        message = f"{files.certificate} and {files.key} cannot be used: {_words(error)}"
        raise TlsError("gateway.tls.certificate", message) from None
    except OSError as error:
        message = f"{files.certificate} and {files.key} cannot be read: {(error.strerror or str(error)).lower()}"
        raise TlsError("gateway.tls.certificate", message) from None
    try:
        _warn_of_refusal(context, files)
    except ssl.SSLError as error:
        logger.warning("the certificate in %s may be refused by clients: %s", files.certificate, _words(error))
    return context


def _warn_of_refusal(context: ssl.SSLContext, files: Tls) -> None:
    """Shake hands in memory, as a client would that trusts the certificate: only its dates can be wrong then.

    It trusts the one that was loaded, whatever is in the file by now.
    """
    client = _client()
    client.verify_mode = ssl.CERT_REQUIRED
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    client.load_verify_locations(cadata=_shown_by(context))
    try:
        _shake_hands(client, context)
    except ssl.SSLCertVerificationError as error:
        what = _DATES.get(error.verify_code, f"will be refused by clients: {error.verify_message}")
        logger.warning("the certificate in %s %s", files.certificate, what)


def _client() -> ssl.SSLContext:
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    return client


def _shown_by(context: ssl.SSLContext) -> bytes:
    """Return the certificate that a context shows, in DER form: what was loaded."""
    return _shake_hands(_client(), context).getpeercert(binary_form=True) or b""


def _shake_hands(client: ssl.SSLContext, server: ssl.SSLContext) -> ssl.SSLObject:
    """Return the client's end of a connection in memory."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server)
    ends = (ours, server.wrap_bio(to_server, to_client, server_side=True))
    for _ in range(3):
        for end in ends:
            with suppress(ssl.SSLWantReadError):
                end.do_handshake()
    return ours


def _words(error: ssl.SSLError) -> str:
    """Return OpenSSL's reason in small letters; its message names lines of C."""
    return (error.reason or error.strerror or type(error).__name__).replace("_", " ").lower()
