"""The files of TLS: read once in one reading of the configuration, and what changed in them since the one before."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from proxy.config import Settings, Tls
from proxy.errors import TlsError
from proxy.net.tls import server_context, upstream_context

_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"

_CERTIFICATE, _PRIVATE_KEY = "certificate", "private key"
_MARKS = {_CERTIFICATE: b"CERTIFICATE-----", _PRIVATE_KEY: b"PRIVATE KEY-----"}
"""What a file in PEM form has in it (RFC 7468); the kinds of keys differ in what comes before."""


class CertificateFile(NamedTuple):
    """A file of certificates, as it was when it was read.

    path: of the file. digest: of all of it. description: of its certificates, for the log.
    """

    path: str
    digest: bytes
    description: str


class TlsFiles:
    """The files of TLS in one reading of the configuration, and the contexts that are made of them.

    Each file is read once, before OpenSSL loads it, and each context made once: what was checked is what is used, even
    if a file is exchanged meanwhile (the next reading tells so), and what there is to warn of is said once.
    """

    def __init__(self) -> None:
        self._read: dict[str, _File | str] = {}  # by path; or why it cannot be read
        self._server: dict[Tls, ssl.SSLContext] = {}
        self._upstream: dict[str | None, ssl.SSLContext] = {}

    def problems(self, files: Tls) -> list[TlsError]:
        """Return what is wrong with each of the public listener's two files, as far as one alone can tell."""
        found = (
            self._problem(files.certificate, _CERTIFICATE, "gateway.tls.certificate"),
            self._problem(files.key, _PRIVATE_KEY, "gateway.tls.key"),
        )
        return [problem for problem in found if problem is not None]

    def server(self, files: Tls) -> ssl.SSLContext:
        """Return the context of the public listener. Raises TlsError when the files cannot be used."""
        if files not in self._server:
            for problem in self.problems(files):
                raise problem
            self._server[files] = server_context(files)
        return self._server[files]

    def upstream(self, authorities: str | None) -> ssl.SSLContext:
        """Return the context for ``https://`` upstreams. Raises TlsError when the authorities cannot be used."""
        if authorities not in self._upstream:
            if authorities is not None and (problem := self._problem(authorities, _CERTIFICATE, "gateway.upstream_ca")):
                raise problem
            self._upstream[authorities] = upstream_context(authorities)
        return self._upstream[authorities]

    def certificates(self, settings: Settings) -> dict[str, CertificateFile]:
        """Return the files of certificates that settings use, by setting; one that cannot be read is left out."""
        paths: dict[str, str | None] = {}
        if settings.tls is not None:
            paths["tls.certificate"] = settings.tls.certificate
        if any(one.url.startswith("https:") for one in settings.upstreams.all_addresses):
            paths["upstream_ca"] = settings.upstream_ca
        read = {key: self._look_into(path) for key, path in paths.items() if path is not None}
        return {key: file.certificates for key, file in read.items() if isinstance(file, _File)}

    # -- inside

    def _problem(self, path: str, kind: str, setting: str) -> TlsError | None:
        file = self._look_into(path)
        if isinstance(file, str):
            return TlsError(setting, f"{path} cannot be read: {file}")
        if kind not in file.kinds:
            return TlsError(setting, f"{path} holds no {kind} in PEM form")
        return None

    def _look_into(self, path: str) -> _File | str:
        if path not in self._read:
            try:
                data = Path(path).read_bytes()
            except OSError as error:
                self._read[path] = (error.strerror or str(error)).lower()
            else:
                kinds = frozenset(kind for kind, mark in _MARKS.items() if mark in data)
                self._read[path] = _File(kinds, CertificateFile(path, sha256(data).digest(), _description(data)))
        return self._read[path]


class _File(NamedTuple):
    """What is known of a file, without what is in it: that may be a key."""

    kinds: frozenset[str]
    certificates: CertificateFile


def renewals(before: Mapping[str, CertificateFile], after: Mapping[str, CertificateFile]) -> list[str]:
    """Return which files have other certificates in them, as ``setting: file: old -> new``."""
    changes = []
    for key, now in after.items():
        past = before.get(key)
        if past is not None and past.digest != now.digest:
            what = f"{past.description} -> {now.description}"
            if past.description == now.description:
                what = f"another content; its first certificate is the same, {now.description}"
            changes.append(f"{key}: the file {now.path} was renewed: {what}")
    return changes


def _description(pem: bytes) -> str:
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
