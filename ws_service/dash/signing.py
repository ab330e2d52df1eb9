"""What a page may listen to is what the server has rendered into it: topics, signed with the hub's key."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ws_service.errors import ConfigError, KeyFileError
from ws_service.hub.keys import KEY_VARIABLE, load_keys

if TYPE_CHECKING:
    from ws_service.hub.tokens import Tokens

LIFETIME = 24 * 3600.0
"""Seconds in which a page can begin to listen, and come back after a break; a subscription that was made stays beyond
it. A page that comes back later asks Dash for its layout, which has new ones."""

AGAIN = 10.0
"""Seconds until the key is read again: it may have been rotated."""

_lock = threading.Lock()
_read: tuple[float, Tokens] | None = None


def sign_topic(topic: str, user: str | None = None) -> str:
    """Return a token for a topic, good for a day. Thread-safe.

    user: whose connection alone may use it; None: any.

    Raises KeyFileError with what to do when the hub's key cannot be read, ValueError when this is no topic or no user.
    """
    return _tokens().sign_subscription(topic, expires_at=time.time() + LIFETIME, user=user or "", is_lasting=True)


def _tokens() -> Tokens:
    global _read
    with _lock:
        if _read is None or time.monotonic() - _read[0] >= AGAIN:
            _read = (time.monotonic(), find_tokens(os.environ))
        return _read[1]


def _forked() -> None:
    global _lock
    _lock = threading.Lock()  # another thread of the parent may have held it, and is not in this process


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forked)


def find_tokens(env: Mapping[str, str]) -> Tokens:
    """Return what signs, with the key that the service uses: of the environment, or of the file that its config names.

    Raises KeyFileError with what to do.
    """
    # Here: pydantic takes 120 ms, and a page of the app may need no token.
    from ws_service.config.file import CONFIG_VARIABLE, find, folder_of
    from ws_service.config.settings import load_settings
    from ws_service.hub.tokens import Tokens

    if env.get(KEY_VARIABLE):
        return Tokens(load_keys(Path(), env))
    path, _ = find(None, env)
    where = f"no config.yaml in {Path.cwd()}" if path is None else f"config file {path.absolute()}"
    advice = f"({where}; {CONFIG_VARIABLE} names another one)"
    try:
        settings = load_settings(path, env)
        return Tokens(load_keys(folder_of(path) / settings.hub.key, env))
    except ConfigError as error:
        raise KeyFileError(f"topics cannot be signed: the config file has mistakes. {error} {advice}") from None
    except KeyFileError as error:
        raise KeyFileError(f"topics cannot be signed: {error} {advice}") from None
