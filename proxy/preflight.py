"""What can be wrong with settings that are well-formed: what takes files and names to find out, before a start."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from ipaddress import ip_address

from proxy.config import Objection, Settings, split_listen
from proxy.errors import TlsError
from proxy.tls import Contexts


def objections(settings: Settings, contexts: Contexts | None = None) -> Iterator[Objection]:
    """Yield everything that would keep the gateway from starting, or that must not be without a word of its own.

    contexts: where what was made of files stays for whoever uses the settings. None: nobody does.
    """
    contexts = contexts or Contexts()
    if not settings.admin_public and (public := _public_address(settings.admin)):
        yield (
            ("admin",),
            f"{settings.admin} can be reached from other hosts ({public}); use a loopback address or unix:path, "
            "or set admin_public: true if that is meant",
        )
    try:
        if settings.tls is not None:
            contexts.server(settings.tls)
    except TlsError as error:
        yield ("tls", error.key.rpartition(".")[2]), error.message
    try:
        if settings.upstream_ca is not None:
            contexts.upstream(settings.upstream_ca)
    except TlsError as error:
        yield ("upstream_ca",), error.message


def _public_address(address: str) -> str:
    """Return the first address behind a name that is not this host's alone; nothing where there is none.

    A name that nobody knows is not judged: listening on it fails, and says so.
    """
    place = split_listen(address)
    if isinstance(place, str):
        return ""
    try:
        found = [str(name[0]) for *_, name in socket.getaddrinfo(*place, type=socket.SOCK_STREAM)]
    except OSError:
        return ""
    return next((host for host in found if not ip_address(host.partition("%")[0]).is_loopback), "")
