"""Where the hub's API is, and the key to it: from the environment, or from the config file.

The environment is for another host: ``DASH_WS_HUB_URL`` and ``DASH_WS_HUB_KEY``. On the service's own host the config
file says where it listens, and the key is read from the same file as the service reads it from.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from ws_service.errors import ConfigError, KeyFileError, PublishError
from ws_service.hub.keys import KEY_VARIABLE, has_key_file, load_keys

if TYPE_CHECKING:
    from ws_service.config.hub_settings import HubSettings

URL_VARIABLE = "DASH_WS_HUB_URL"
"""The address of the service's own listener on another host: ``http://10.0.0.7:8765``."""

AGAIN = 5.0
"""Seconds before an address that could not be found, or whose key was refused, is looked for again."""


class Place(NamedTuple):
    """What a connection is made to. path: of a unix socket, empty for TCP."""

    host: str
    port: int
    is_tls: bool = False
    path: str = ""


@dataclass(frozen=True, slots=True)
class HubAddress:
    """Where and how the hub's API is asked.

    place: what to connect to. url: the same, for messages. prefix: of the API's paths, empty for none.
    api_key: what the API wants to see. key_source: where it is from, for messages.
    advice: what to set where this is not the right hub, for messages.
    most: bytes of a publication; None: only the hub knows.
    """

    place: Place
    url: str
    prefix: str
    api_key: str = field(repr=False)
    key_source: str
    advice: str
    most: int | None = None


class HubAddresses:
    """Finds the address once, and again when the hub has refused the key: it may have been rotated.

    env: where variables are looked up, at that time.
    """

    def __init__(self, env: Mapping[str, str] = os.environ) -> None:
        self._env = env
        self._found: HubAddress | None = None
        self._failure: PublishError | None = None
        self._read_at: float | None = None
        self._is_doubted = False

    def get(self, now: float) -> HubAddress:
        """Return the address. now: of ``time.monotonic``. Raises PublishError with what to do."""
        is_due = self._read_at is None or now - self._read_at >= AGAIN
        if is_due and (self._found is None or self._is_doubted):
            self._read_at = now
            self._find()
        if self._found is None:
            assert self._failure is not None
            raise self._failure.with_traceback(None)
        return self._found

    def forget(self) -> None:
        """Have it read again, in a while: the hub has refused the key."""
        self._is_doubted = True

    def _find(self) -> None:
        try:
            self._found, self._is_doubted = find(self._env), False
        except PublishError as error:
            self._found, self._failure = None, error


def find(env: Mapping[str, str] = os.environ) -> HubAddress:
    """Return the address of the hub. Raises PublishError with what to do."""
    url = env.get(URL_VARIABLE)
    try:
        return _on_another_host(url, env) if url else _on_this_host(env)
    except OSError as error:  # of a working directory that has been removed, for example
        raise PublishError(f"the hub is not found: {error}") from error


def _on_another_host(url: str, env: Mapping[str, str]) -> HubAddress:
    if env.get(KEY_VARIABLE):
        advice = f"Change {URL_VARIABLE} or {KEY_VARIABLE}."
        return HubAddress(*_parse(url), _derived(Path(), env), KEY_VARIABLE, advice)
    place, shown, prefix = _parse(url)
    return replace(_on_this_host(env), place=place, url=shown, prefix=prefix, most=None)


def _parse(url: str) -> tuple[Place, str, str]:
    """Return the place, the URL without what is secret, and the prefix. Raises PublishError."""
    if url.startswith("unix:"):
        return Place("", 0, path=str(Path(url[5:]).absolute())), url, ""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    is_clean = url.isascii() and url.isprintable() and " " not in url  # it becomes part of a request
    if not host or not is_clean or parts.scheme not in ("http", "https"):
        named = "what has an @" if "@" in url else repr(url)  # it may have a password
        raise PublishError(f"{URL_VARIABLE} is {named}, and no URL of a service; write http://10.0.0.7:8765")
    is_tls = parts.scheme == "https"
    prefix = parts.path.rstrip("/")
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{prefix}"
    return Place(host, port or (443 if is_tls else 80), is_tls), shown, prefix


def _on_this_host(env: Mapping[str, str]) -> HubAddress:
    from ws_service.config.addresses import split_listen  # here: pydantic takes 120 ms
    from ws_service.config.file import find as find_file
    from ws_service.config.file import folder_of
    from ws_service.config.settings import load_settings

    path, _ = find_file(None, env)
    try:
        settings = load_settings(path, env)
    except ConfigError as error:
        raise PublishError(f"the config file has mistakes, so the hub is not found. {error}") from error
    folder = folder_of(path)
    listen = split_listen(settings.listen)
    if isinstance(listen, tuple) and not listen[1] and not env.get(URL_VARIABLE):
        raise PublishError(
            f"ws_service.listen is {settings.listen}, and what port that has become is only in the log of the service; "
            f"write a port, or set {URL_VARIABLE}"
        )
    key, source = _api_key(settings.hub, folder, path, env)
    place = _place(listen, folder)
    url = f"unix:{place.path}" if place.path else f"http://{settings.listen}"
    return HubAddress(place, url, "", key, source, _advice(path), settings.hub.max_publication)


def _place(listen: tuple[str, int] | str, folder: Path) -> Place:
    """Return what to connect to for an address that is listened on: every address of this host has a loopback one."""
    if isinstance(listen, str):
        return Place("", 0, path=str(folder / listen))
    host, port = listen
    return Place({"*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port)


def _api_key(hub: HubSettings, folder: Path, path: Path | None, env: Mapping[str, str]) -> tuple[str, str]:
    """Return the key of the API and where it is from. Raises PublishError."""
    if hub.api_key is not None:
        return hub.api_key, "ws_service.hub.api_key"
    file = folder / hub.key
    if path is None and not env.get(KEY_VARIABLE) and not has_key_file(file):  # it would be a key of no service
        if env.get(URL_VARIABLE):
            raise PublishError(
                f"{URL_VARIABLE} is set, and the key is missing: set {KEY_VARIABLE} too. {_advice(path)}"
            )
        raise PublishError(f"the hub is not found: dash-ws-service has not run in {folder} yet. {_advice(path)}")
    return _derived(file, env), KEY_VARIABLE if env.get(KEY_VARIABLE) else str(file)


def _derived(file: Path, env: Mapping[str, str]) -> str:
    try:
        return load_keys(file, env).api_keys[0]
    except KeyFileError as error:
        raise PublishError(str(error)) from error


def _advice(path: Path | None) -> str:
    from ws_service.config.file import CONFIG_VARIABLE

    if path is None:
        return (
            f"There is no config.yaml in {Path.cwd()}: set {CONFIG_VARIABLE} to the path of the service's config file, "
            f"or {URL_VARIABLE} and {KEY_VARIABLE} on another host."
        )
    return f"The config file is {path.absolute()}; {CONFIG_VARIABLE} names another one."
