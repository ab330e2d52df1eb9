"""TLS: what certificate the gateway shows, which versions it speaks, and whose certificates it believes.

Python's defaults for ciphers and groups are those of Mozilla's
"intermediate" configuration; what is set here is what they leave open.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple, cast

from proxy.config import Settings, Tls
from proxy.errors import TlsError

logger = logging.getLogger("proxy")

_ALPN = ("http/1.1",)
"""The gateway speaks nothing else (docs/decisions/014-http11-only.md), and says so to clients that could."""

_DATES = {9: "is not valid yet", 10: "has expired"}
"""OpenSSL's codes (X509_verify_cert(3)) for a certificate that clients refuse today and took, or will take, another
day: no mistake in the file."""


_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"

_NO_TLS = frozenset(("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL"))
"""OpenSSL's reasons where what came from the other side was no TLS record: HTTP, most likely."""


class Contexts:
    """What TLS is spoken with, by one reading of the configuration.

    Files are read once, by whoever asks first: what was checked is what is used, though somebody exchanges them
    meanwhile, and what there is to warn of is said once.
    """

    def __init__(self) -> None:
        self._server: dict[Tls, ssl.SSLContext] = {}
        self._upstream: dict[str | None, ssl.SSLContext] = {}
        self._contents: dict[str, Content] = {}  # by path

    def server(self, files: Tls) -> ssl.SSLContext:
        """Return what the public listener speaks TLS with. Raises TlsError (``server_context``)."""
        if files not in self._server:
            self._look_into(files.certificate)
            self._server[files] = server_context(files)
        return self._server[files]

    def upstream(self, authorities: str | None) -> ssl.SSLContext:
        """Return how ``https://`` upstreams are spoken to. Raises TlsError (``upstream_context``)."""
        if authorities not in self._upstream:
            if authorities is not None:
                self._look_into(authorities)
            self._upstream[authorities] = upstream_context(authorities)
        return self._upstream[authorities]

    def contents(self, settings: Settings) -> dict[str, Content]:
        """Return what is in the files of certificates that settings use, by setting.

        A file that cannot be read is left out.
        """
        paths: dict[str, str | None] = {}
        if settings.tls is not None:
            paths["tls.certificate"] = settings.tls.certificate
        if any(url.startswith("https:") for _, url in settings.upstreams):
            paths["upstream_ca"] = settings.upstream_ca
        for path in paths.values():
            if path is not None:
                self._look_into(path)
        return {key: self._contents[path] for key, path in paths.items() if path in self._contents}

    def _look_into(self, path: str) -> None:
        """Note what is in a file, once, and before it is loaded: what changes in between the next reading tells."""
        if path not in self._contents:
            with suppress(OSError):
                data = Path(path).read_bytes()
                self._contents[path] = Content(path, sha256(data).digest(), _certificates(data))


class Certificate:
    """The public listener's certificate and its key, for whoever puts another one in place.

    ``context`` is for connections that come; those that are open keep the one that they began with.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context


def upstream_context(authorities: str | None) -> ssl.SSLContext:
    """Return how ``https://`` upstreams are spoken to: their chain and their name are checked, without exception.

    authorities: PEM file of those that are believed; None: the system's. Raises TlsError when it cannot be used.
    """
    key = "gateway.upstream_ca"
    if authorities is not None:
        _read(authorities, "CERTIFICATE-----", "certificate", key)
    try:
        context = ssl.create_default_context(cafile=authorities)
    except ssl.SSLError as error:
        raise TlsError(key, f"{authorities} holds no certificate that can be used: {_words(error)}") from None
    except OSError as error:  # it has gone since it was looked at
        raise TlsError(key, f"{authorities} cannot be read: {(error.strerror or str(error)).lower()}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(_ALPN)
    # Python takes a connection that is simply cut for one that has ended; an answer might be a part of itself then
    # (RFC 9112, section 9.8).
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    return context


def bound(transport: asyncio.BaseTransport, buffer: int) -> None:
    """Bound what TLS holds for one connection, where it is spoken: 512 KiB to send and 256 KiB read ahead by default.

    buffer: bytes that may wait to be sent. Nothing is read ahead: uvloop forgets what it has read ahead for somebody
    who is slow when the connection ends meanwhile, and the end of an answer would be lost.
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


def unreadable(files: Tls) -> list[TlsError]:
    """Return what is wrong with each of the public listener's two files, as far as it can be told without the other."""
    found = []
    for path, mark, noun, key in (
        (files.certificate, "CERTIFICATE-----", "certificate", "gateway.tls.certificate"),
        (files.key, "PRIVATE KEY-----", "private key", "gateway.tls.key"),
    ):
        try:
            _read(path, mark, noun, key)
        except TlsError as error:
            found.append(error)
    return found


def doubt(error: ssl.SSLError) -> str:
    """Return what whoever runs this should look at when a handshake with an upstream has failed like that."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return "is its certificate the right one?"
    if error.reason in _NO_TLS:
        return "does it speak plain HTTP? Then write http:// and not https://."
    return "its own log says why it refuses TLS."


def server_context(files: Tls) -> ssl.SSLContext:
    """Return what the public listener speaks TLS with. Raises TlsError when the files cannot be used.

    Somebody may exchange them while they are read; whatever comes of that is an error like any other.
    """
    for error in unreadable(files):
        raise error
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(_ALPN)

    def passphrase() -> str:  # without it, OpenSSL would ask on the terminal
        raise TlsError("gateway.tls.key", f"{files.key} is encrypted, and there is nobody to ask for its passphrase")

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


class Content(NamedTuple):
    """What is in a file of certificates.

    path: of the file. digest: of all of it. words: which certificates these are, for the log.
    """

    path: str
    digest: bytes
    words: str


def renewals(before: Mapping[str, Content], after: Mapping[str, Content]) -> list[str]:
    """Return which files have other certificates in them, as ``setting: file: old -> new``."""
    told = []
    for key, now in after.items():
        past = before.get(key)
        if past is not None and past.digest != now.digest:
            what = f"{past.words} -> {now.words}"
            if past.words == now.words:
                what = f"another content; its first certificate is the same, {now.words}"
            told.append(f"{key}: the file {now.path} was renewed: {what}")
    return told


def _certificates(pem: bytes) -> str:
    """Return in words the first certificate of a file, and how many more there are."""
    blocks = pem.decode("latin-1").split(_BEGIN)[1:]
    try:
        serial, until = _serial_and_end(ssl.PEM_cert_to_DER_cert(_BEGIN + blocks[0].partition(_END)[0] + _END))
    except (ValueError, IndexError):  # of a kind that OpenSSL reads and this does not
        return "an unknown certificate"
    more = f", and {len(blocks) - 1} more" if len(blocks) > 1 else ""
    return f"serial {serial:X}, valid until {until} UTC{more}"


def _serial_and_end(der: bytes) -> tuple[int, datetime]:
    """Return the serial number and the last moment of a certificate. Raises ValueError and IndexError."""
    # RFC 5280, section 4.1: in Certificate is TBSCertificate; in it version, serial, signature, issuer, validity.
    fields = _values(_values(_values(der)[0][1])[0][1])
    if fields[0][0] == 0xA0:  # the version, which may be left out
        del fields[0]
    tag, until = _values(fields[3][1])[1]
    if tag != 0x18:  # UTCTime, which has two digits of the year (section 4.1.2.5.1)
        until = (b"20" if until < b"5" else b"19") + until
    return int.from_bytes(fields[0][1], signed=True), datetime.strptime(until.decode(), "%Y%m%d%H%M%SZ")


def _values(der: bytes) -> list[tuple[int, bytes]]:
    """Split DER into values, each with its tag (X.690, section 8.1)."""
    values, at = [], 0
    while at < len(der):
        tag, size, at = der[at], der[at + 1], at + 2
        if size & 0x80:
            count = size & 0x7F
            size, at = int.from_bytes(der[at : at + count]), at + count
        values.append((tag, der[at : at + size]))
        at += size
    return values


def _read(path: str, mark: str, noun: str, key: str) -> None:
    try:
        text = Path(path).read_bytes()
    except OSError as error:
        raise TlsError(key, f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from None
    if mark.encode() not in text:
        raise TlsError(key, f"{path} holds no {noun} in PEM form")


def _warn_of_refusal(context: ssl.SSLContext, files: Tls) -> None:
    """Shake hands in memory, as a client would who knows the certificate: only its dates can be wrong then.

    It knows the one that was loaded, whatever is in the file by now.
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
