"""What differs between two answers to the same request, and what may. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from proxy.doctor.endpoint import Answer

MAY_DIFFER: Mapping[str, str] = {
    "date": "when it was answered",
    "age": "how long a cache had it",
    "connection": "of one connection (RFC 9110, section 7.6.1)",
    "keep-alive": "of one connection",
    "transfer-encoding": "of one connection (RFC 9112, section 6.1)",
    "x-request-id": "of one request",
    "server": "which program answered: a proxy in front has a name of its own",
    "server-timing": "how long Dash's callback took",
    "via": "which proxies there were (RFC 9110, section 7.6.3)",
    "alt-svc": "where else a proxy in front listens (RFC 7838)",
}
"""Fields that are not compared, and what each says."""

_ANY_VALUE: Mapping[str, re.Pattern[str]] = {"set-cookie": re.compile(r"(?<==)[^;]*")}
"""Fields whose values are compared without a part: each visitor has a session of its own."""

VARIES = re.compile(rb'"end_id":\s*"[^"]*"')
"""What each page of Dash has of its own: the handle of its background callbacks, since Dash 4.3."""

_SHOWN = 60
"""Bytes of a body that are shown, from where it differs."""


class Difference(NamedTuple):
    """what: ``status``, ``body``, or the name of a field. direct, gateway: what each has; empty where it has none."""

    what: str
    direct: str
    gateway: str


def differences(
    direct: Answer, gateway: Answer, origins: tuple[str, str], *, has_body: bool = True
) -> list[Difference]:
    """Return what differs.

    origins: of the two, by which they name themselves; that is no difference. has_body: False: the body varies by
    itself, and is not compared; nor is its length.
    """
    found = []
    if direct.status != gateway.status:
        found.append(Difference("status", str(direct.status), str(gateway.status)))
    found += _of_fields(direct, gateway, origins, set() if has_body else {"content-length", "etag"})
    if has_body:
        found += _of_bodies(direct.body, gateway.body, origins)
    return found


def is_same_body(one: Answer, other: Answer) -> bool:
    """Tell whether two answers of one server have the same body."""
    return VARIES.sub(b"", one.body) == VARIES.sub(b"", other.body)


def _of_fields(direct: Answer, gateway: Answer, origins: tuple[str, str], left_out: set[str]) -> Iterator[Difference]:
    here, there = _by_name(direct.fields, origins[0]), _by_name(gateway.fields, origins[1])
    for name in sorted({*here, *there} - left_out - MAY_DIFFER.keys()):
        if here.get(name) != there.get(name):
            yield Difference(name, ", ".join(here.get(name, ())), ", ".join(there.get(name, ())))


def _by_name(fields: Iterable[tuple[str, str]], origin: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in fields:
        key = name.lower()
        value = _ANY_VALUE[key].sub("…", value, count=1) if key in _ANY_VALUE else value
        found.setdefault(key, []).append(value.replace(origin, ""))
    return found


def _of_bodies(direct: bytes, gateway: bytes, origins: tuple[str, str]) -> Iterator[Difference]:
    here, there = _compared(direct, origins[0]), _compared(gateway, origins[1])
    if here == there:
        return
    pairs = enumerate(zip(here, there, strict=False))
    at = next((at for at, (one, other) in pairs if one != other), min(len(here), len(there)))
    yield Difference("body", _part(here, at), _part(there, at))


def _compared(body: bytes, origin: str) -> bytes:
    return VARIES.sub(b"", body.replace(origin.encode(), b""))


def _part(body: bytes, at: int) -> str:
    part = body[at : at + _SHOWN].decode("utf-8", "replace")
    return f"{len(body)} bytes, from byte {at}: {part}" if part else f"{len(body)} bytes"
