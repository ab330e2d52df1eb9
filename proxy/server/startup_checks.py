"""What can be wrong with settings that are well-formed: files and host names are checked, before anything starts."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from ipaddress import ip_address

from proxy.config import Objection, Settings, Tls, passed_name, split_listen
from proxy.errors import TlsError
from proxy.net.resolver import look_up
from proxy.net.tls_files import TlsFiles


def objections(settings: Settings, tls_files: TlsFiles | None = None) -> Iterator[Objection]:
    """Yield everything that would keep the gateway from starting, or that must be asked for by a setting of its own.

    tls_files: what is read of files stays in it for the use of the settings. None: they are only checked.
    """
    tls_files = tls_files or TlsFiles()
    if not settings.admin_public and (public := _public_address(settings.admin)):
        yield (
            ("admin",),
            f"{settings.admin} can be reached from other hosts ({public}); use a loopback address or unix:path, "
            "or set admin_public: true if that is meant",
        )
    if settings.reuse_port and not hasattr(socket, "SO_REUSEPORT"):
        yield ("reuse_port",), "this system cannot share a port between processes; write false"
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
    """Return the first address of a host name that other hosts can reach; empty where there is none.

    A name that cannot be resolved is not checked here: listening on it fails with a message. Nor is a socket of
    systemd: it is here only at the start.
    """
    if passed_name(address) is not None:
        return ""
    place = split_listen(address)
    if isinstance(place, str):
        return ""
    try:
        found = look_up(place[0])
    except OSError:
        return ""
    return next((host for host in found if not ip_address(host.partition("%")[0]).is_loopback), "")
