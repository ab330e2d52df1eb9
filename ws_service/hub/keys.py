"""The key that signs tokens: in a file that the first process that needs it makes, or in the environment.

The service, the Dash server and workers of the same user share the file without a word in any of them. A process of
another user, or of another host, gets the key by an environment variable.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ws_service.errors import KeyFileError
from ws_service.net.folders import folder_problem, make_folder

KEY_VARIABLE = "DASH_WS_HUB_KEY"
PREVIOUS_VARIABLE = "DASH_WS_HUB_PREVIOUS_KEY"
"""Environment variables with the key, and the one before it. Where the first is set, no file is looked at."""

_SHORTEST = 32
"""Characters. HS256 is as hard to guess as its key, and RFC 7518, section 3.2, asks for 256 bits."""

_LONGEST = 4096
"""Characters: more is another file, named by mistake."""

_MODE = 0o600
"""Of the file: for the user of this process alone."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The key of the hub. current: signs. previous: what it has signed is still valid; None: there is none.

    They are text, and its bytes are the key, so that the same text serves in another hub's configuration.
    """

    current: str = field(repr=False)
    previous: str | None = field(default=None, repr=False)

    @property
    def api_keys(self) -> tuple[str, ...]:
        """The keys of the HTTP API, derived from both; a client sends the first."""
        return tuple(_derived(key, b"api") for key in (self.current, self.previous) if key is not None)


def load_keys(path: Path, env: Mapping[str, str] = os.environ) -> Keys:
    """Return the key, and make it where there is none yet. It waits for nothing but the disk.

    path: of the key file; the previous key is beside it, with ``.previous`` after the name. env: where both variables
    are looked up.

    Raises KeyFileError: the file cannot be made or read, is not this user's alone, or holds no key.
    """
    if given := env.get(KEY_VARIABLE):
        previous = env.get(PREVIOUS_VARIABLE)
        return Keys(
            _checked(given, f"the environment variable {KEY_VARIABLE}"),
            _checked(previous, f"the environment variable {PREVIOUS_VARIABLE}") if previous else None,
        )
    try:
        path = _folder(path.parent) / path.name
        current = _read(path) or _made(path)
        return Keys(current, _read(path.with_name(f"{path.name}.previous")))
    except OSError as error:
        reason = error.strerror or str(error)
        raise KeyFileError(f"the hub has no key: {path}: {reason}; or set {KEY_VARIABLE}") from None


def has_key_file(path: Path) -> bool:
    """Tell whether something is where the key file belongs, also where this user may not look: then ``load_keys`` says
    what is wrong. ``Path.exists`` raises there."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        pass
    return True


def key_problem(path: Path, env: Mapping[str, str] = os.environ) -> str | None:
    """Say why there can be no key; None where there can. Nothing is made. The arguments are those of ``load_keys``."""
    if not env.get(KEY_VARIABLE) and not has_key_file(path):
        return folder_problem(path.parent)
    try:
        load_keys(path, env)
    except KeyFileError as error:
        return str(error)
    return None


def _derived(key: str, purpose: bytes) -> str:
    return hmac.new(key.encode(), purpose, hashlib.sha256).hexdigest()


def _folder(folder: Path) -> Path:
    if hasattr(os, "geteuid"):
        try:
            return make_folder(folder)
        except OSError:  # its advice is for a folder of this user's
            owner = _owner(folder)
            if owner in (None, os.geteuid()):
                raise
            raise OSError(errno.EPERM, _belongs(f"the folder {folder}", owner)) from None
    folder.mkdir(parents=True, exist_ok=True)  # Windows: its folders have no modes to check
    return folder


def _read(path: Path) -> str | None:
    """Return the key in a file; None where there is no file."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise PermissionError(
                errno.EPERM, f"{path.name} is a symbolic link, and is to be a file; remove it"
            ) from None
        if isinstance(error, PermissionError):
            raise PermissionError(errno.EPERM, _another_user(path)) from None
        raise
    try:
        if problem := _problem(path, os.fstat(descriptor)):
            raise PermissionError(errno.EPERM, problem)
        text = os.read(descriptor, _LONGEST + 1)
    finally:
        os.close(descriptor)
    return _checked(text.decode("ascii", "replace").strip(), str(path))


def _problem(path: Path, status: os.stat_result) -> str | None:
    """Return why a file can hold no key; None where it can."""
    if not stat.S_ISREG(status.st_mode):
        return f"{path.name} is no file; remove it"
    if not hasattr(os, "geteuid"):
        return None
    if status.st_uid != os.geteuid():
        return _another_user(path)
    if status.st_mode & 0o077:
        return f"others may read or write {path.name}; make a new key (remove it), or forbid that: chmod 600 {path}"
    return None


def _another_user(path: Path) -> str:
    return _belongs(path.name, path.lstat().st_uid)


def _owner(path: Path) -> int | None:
    try:
        return path.stat().st_uid
    except OSError:
        return None


def _belongs(what: str, owner: int | None) -> str:
    return (
        f"{what} belongs to user {owner}, and not to this one ({os.geteuid()}); run the service, Dash and what "
        "publishes as one user"
    )


def _made(path: Path) -> str:
    """Make a key, or return that of a process that was first.

    The file is written under another name and then linked, which fails where there is one: so no process ever reads a
    part of it, and all have the same.
    """
    key = secrets.token_hex(32)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), _MODE)
    try:
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(f"{key}\n")
            file.flush()
            os.fsync(descriptor)
        os.link(beside, path)
    except FileExistsError:
        key = _read(path) or _made(path)  # it may be gone again: one that is in no file would be this process's alone
    finally:
        with contextlib.suppress(OSError):
            os.unlink(beside)
    return key


def _checked(key: str, place: str) -> str:
    """Return a key that is one. place: where it comes from, for the message, which does not show it."""
    if len(key) < _SHORTEST:
        raise KeyFileError(
            f"{place} holds {len(key)} characters, and a key of the hub has {_SHORTEST} at least; "
            "make one: openssl rand -hex 32"
        )
    if len(key) > _LONGEST or not key.isascii() or not key.isprintable() or " " in key:
        raise KeyFileError(f"{place} holds no key: it is one line of printable ASCII characters without spaces")
    return key
