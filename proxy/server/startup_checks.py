"""What can be wrong with settings that are well-formed: what takes files and names to find out, before a start."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from ipaddress import ip_address

from proxy.config import Objection, Settings, Tls, split_listen
from proxy.errors import TlsError
from proxy.net.tls_files import TlsFiles

LOOK_UP = 5.0
"""Seconds for a name to be looked up. Precedent: the resolver's own timeout for one server."""


def objections(settings: Settings, tls_files: TlsFiles | None = None) -> Iterator[Objection]:
    """Yield everything that would keep the gateway from starting, or that must not be without a word of its own.

    tls_files: what is read of files stays in it for the use of the settings. None: they are only checked.
    """
    tls_files = tls_files or TlsFiles()
    if not settings.admin_public and (public := _public_address(settings.admin)):
        yield (
            ("admin",),
            f"{settings.admin} can be reached from other hosts ({public}); use a loopback address or unix:path, "
            "or set admin_public: true if that is meant",
        )
    if settings.tls is not None:
        yield from _tls(settings.tls, tls_files)
    try:
        if settings.upstream_ca is not None:
            tls_files.upstream(settings.upstream_ca)
    except TlsError as error:
        yield ("upstream_ca",), error.message


def _tls(files: Tls, tls_files: TlsFiles) -> Iterator[Objection]:
    """Yield what is wrong with the certificate and the key: each that cannot be read, or that they do not fit."""
    problems = tls_files.problems(files)
    if not problems:
        try:
            tls_files.server(files)
        except TlsError as error:
            problems = [error]
    for problem in problems:
        yield ("tls", problem.key.rpartition(".")[2]), problem.message


def _public_address(address: str) -> str:
    """Return the first address behind a name that is not this host's alone; nothing where there is none.

    A name that nobody knows is not judged: listening on it fails, and says so.
    """
    place = split_listen(address)
    if isinstance(place, str):
        return ""
    try:
        found = look_up(place[0])
    except OSError:
        return ""
    return next((host for host in found if not ip_address(host.partition("%")[0]).is_loopback), "")


def look_up(host: str) -> list[str]:
    """Return the addresses of a host. Raises OSError, after ``LOOK_UP`` at the latest, whatever the resolver does."""
    answer: list[list[str] | OSError] = []

    def ask() -> None:
        try:
            # As listening on it asks: only so is * every address, and not loopback.
            names = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            answer.append([str(name[0]) for *_, name in names])
        except OSError as error:
            answer.append(error)
        except UnicodeError as error:
            answer.append(OSError(str(error)))

    thread = threading.Thread(target=ask, name=f"look-up of {host}", daemon=True)
    thread.start()
    thread.join(LOOK_UP)
    found = answer[0] if answer else TimeoutError(f"no answer within {LOOK_UP:g} s")
    if isinstance(found, OSError):
        raise found
    return found
