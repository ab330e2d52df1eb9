"""The target and the host of a request, in the spelling in which they are compared."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address
from urllib.parse import unquote


@lru_cache(maxsize=8)  # routes and auth rules decode the same path, and 16 KiB of %25 take 1 ms
def decoded(path: str) -> str:
    """Return a path as Uvicorn and Werkzeug decode it, once."""
    return unquote(path, errors="replace")


def is_under(path: str, prefix: str) -> bool:
    """Tell whether a path lies under a prefix, whole segments: ``/live/a`` under ``/live``, but not ``/lively``."""
    if not path.startswith(prefix):
        return False
    return prefix.endswith("/") or len(path) == len(prefix) or path[len(prefix)] == "/"


@lru_cache(maxsize=256)  # the same few names come again and again
def host_name(host: str) -> str:
    """Return the name in a Host field as it is compared: small letters, no port, no dot at the end, IPv6 in brackets.

    ``Dash.Example.:8000`` is ``dash.example``: the dot ends an absolute name (RFC 1034, section 3.1). An IPv6 address
    has one spelling (RFC 5952).
    """
    host = host.lower()
    if not host.startswith("["):
        return host.partition(":")[0].rstrip(".")
    address = host[1:].partition("]")[0]
    try:
        return f"[{IPv6Address(address)}]"
    except ValueError:  # with a zone, or none at all
        return f"[{address}]"
