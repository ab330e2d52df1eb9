"""Request targets as they may be logged: shortened, and without what is secret by its name."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ws_service.logs.formatter import shortened

_SECRET = re.compile(
    r"(?i:token|secret|passw(?:or)?d|sig|signature|credential|key|auth|code|jwt|sid|session(?:_?id)?|ticket|cf_connect)"
    r"(?![a-z])"
)
"""The end of the name of a query parameter whose value is not written, or the end of a word in it. ``cf_connect`` is
a command with tokens in it, for event streams of the hub."""

_ENCODED_MARK = re.compile(r"(?i)%(?:25)*(?:26|3b|3f)")
"""What begins a parameter (``&``, ``;``, ``?``) for a server that decodes before it looks."""

_HEX = "0123456789abcdefABCDEF"
_ESCAPE = re.compile("%[0-9A-Fa-f]{2}")
_OCTETS = {f"%{high}{low}": chr(int(high + low, 16)) for high in _HEX for low in _HEX}
"""What an escape means. Of letters beyond ASCII only the octets: no name that is compared has any, and urllib takes
longer for what is hostile."""

_DECODINGS = 3
"""How often a name is decoded before it is judged: a proxy and an application after this one may do it once each."""

_MOST_JUDGED = 64
"""Parameters of one target that are judged one by one; the rest is not written. Dash's own requests have up to 3."""

_LONGEST = 2048
"""Characters that are written of a target. A request line may have 16 KiB, and strangers must not fill the disk with
it."""


def redacted(target: str) -> str:
    """Return what is written of a request target, or of another URL.

    Only what is written is looked at, so that a long target costs no more than another.
    """
    shown = target[:_LONGEST]
    rest = shortened(target, _LONGEST)[_LONGEST:]
    if shown.startswith("/"):
        if "=" not in shown and "%" not in shown:
            return shown + rest
    else:
        shown = _without_userinfo(shown)
    if not _may_hold_secret(shown):
        return shown + rest
    path, mark, query = shown.partition("?")
    budget = iter(range(_MOST_JUDGED))
    return _path(path, budget) + mark + _query(query, budget) + rest


def _without_userinfo(target: str) -> str:
    """Hide the name and the password in a target that names a host (RFC 3986, section 3.2.1); it is refused anyway."""
    scheme, mark, rest = target.rpartition("://") if "://" in target[:64] else ("", "", target)
    end = min((at for at in map(rest.find, "/?") if at >= 0), default=len(rest))
    authority = rest[:end].replace("%40", "@")
    return target if "@" not in authority else f"{scheme}{mark}***@{authority.rpartition('@')[2]}{rest[end:]}"


def _path(path: str, budget: Iterator[int]) -> str:
    """Hide secret parameters in a path (RFC 3986, section 3.3): ``/page;jsessionid=...``."""
    first, semicolon, parameters = path.partition(";")
    encoded = _ENCODED_MARK.search(first)
    if encoded is not None and _is_secret(first[encoded.end() :]):
        return first[: encoded.end()] + "***"
    return first + semicolon + (_parameter(parameters, budget) if parameters else "")


def _query(query: str, budget: Iterator[int]) -> str:
    return "&".join(_parameter(parameter, budget) for parameter in query.split("&", _MOST_JUDGED))


def _parameter(text: str, budget: Iterator[int]) -> str:
    """Hide the value of a parameter if it is secret. To some servers a semicolon begins the next one, to others not."""
    shown = []
    for part in text.split(";", _MOST_JUDGED):
        if next(budget, None) is None:
            shown.append("...")
            break
        if _is_secret(part):
            name, equals, _ = part.partition("=")
            shown.append(f"{name}=***" if equals else "***")
            break
        shown.append(part)
    return ";".join(shown)


def _is_secret(parameter: str) -> bool:
    """Tell whether a parameter has a secret name, or holds one that has (a URL with a query of its own)."""
    return any(_SECRET.search(read.rpartition("=")[0]) for read in _readings(parameter))


def _may_hold_secret(text: str) -> bool:
    return any(_SECRET.search(read) for read in _readings(text))


def _readings(text: str) -> Iterator[str]:
    """Yield a text as it is, decoded, and decoded again: as those after this one may read it."""
    yield text
    for _ in range(_DECODINGS):
        before, text = text, _ESCAPE.sub(_decoded, text.replace("+", " "))
        if text == before:
            return
        yield text


def _decoded(match: re.Match[str]) -> str:
    return _OCTETS[match[0]]
