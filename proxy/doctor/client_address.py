"""Where a client of this host finds a listener of the gateway."""

from __future__ import annotations

from proxy.config import passed_name, split_listen
from ws_service.config.addresses import OFF

_ANY = {"*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
"""Addresses that stand for all of a host, and the one to connect to."""


def client_address(listen: str, *, has_tls: bool = False) -> str | None:
    """Return the address of a listener: ``http://host:port``, ``https://...`` or ``unix:path``.

    listen: the checked setting, paths made whole. None where it does not say the address: ``off``, ``systemd``, a port
    that is free.
    """
    if listen == OFF or passed_name(listen) is not None:
        return None
    place = split_listen(listen)
    if isinstance(place, str):
        return listen
    if not place[1]:
        return None
    host = _ANY.get(place[0], place[0])
    return f"{'https' if has_tls else 'http'}://{f'[{host}]' if ':' in host else host}:{place[1]}"
