"""Settings that are secrets: they are neither printed nor logged, and a change of one is seen all the same."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import PlainSerializer, SerializationInfo

HIDDEN = "(hidden)"
"""What stands for a secret in ``--print-config`` and in the log; no secret can be this text."""

COMPARED = {"is_compared": True}
"""The context in which models are dumped to be compared: then each secret has a mark of its own."""

_MARK_KEY = secrets.token_bytes(32)
"""Of this process alone, so that a mark in the log cannot be looked up in a list of passwords."""


def hide(secret: str | None, info: SerializationInfo) -> str | None:
    """Return what is written in the place of a secret. None: there is none."""
    if secret is None:
        return None
    return _hidden(secret, info)


def hide_password(url: str, info: SerializationInfo) -> str:
    """Return a URL with its password hidden; any other text as it is."""
    password = password_of(url)
    if not password:
        return url
    scheme, mark, rest = url.partition("://")
    account, at, place = rest.rpartition("@")
    return f"{scheme}{mark}{account.partition(':')[0]}:{_hidden(password, info)}{at}{place}"


def password_of(url: str) -> str | None:
    """Return the password in a URL; None where there is none, or where it is no URL."""
    try:
        return urlsplit(url).password
    except ValueError:
        return None


def _hidden(secret: str, info: SerializationInfo) -> str:
    if info.context != COMPARED:
        return HIDDEN
    mark = hmac.new(_MARK_KEY, secret.encode(errors="surrogateescape"), hashlib.sha256).hexdigest()
    return f"{HIDDEN[:-1]} {mark[:8]})"


Secret = Annotated[str, PlainSerializer(hide)]
"""Text that is hidden wherever settings are written."""
