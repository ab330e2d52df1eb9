"""Certificates for tests, made while they run: an authority, and what it has signed."""

from __future__ import annotations

import ssl
from datetime import datetime
from pathlib import Path

import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)


class Authority:
    """A certificate authority of its own, with its file.

    folder: for every file that it writes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ca = trustme.CA()
        self.file = folder / "authority.pem"
        self._ca.cert_pem.write_to_path(self.file)

    def issue(
        self, *names: str, file: str = "server", not_before: datetime | None = None, not_after: datetime | None = None
    ) -> dict[str, str]:
        """Write a certificate and its key; return the setting ``gateway.tls`` that names them."""
        names = names or ("localhost", "127.0.0.1")
        issued = self._ca.issue_cert(*names, not_before=not_before, not_after=not_after)
        certificate, key = self._folder / f"{file}.pem", self._folder / f"{file}.key"
        certificate.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(key)
        return {"certificate": str(certificate), "key": str(key)}

    def client(self) -> ssl.SSLContext:
        """Return the context of a client that believes this authority and nobody else."""
        return ssl.create_default_context(cafile=str(self.file))


def encrypt(key: Path) -> None:
    """Give a key file a passphrase."""
    private = load_pem_private_key(key.read_bytes(), None)
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")))
