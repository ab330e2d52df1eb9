"""The key to the API of the WebSocket service, found where the service finds it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from proxy.status.service import NoKey
from ws_service.config.file import folder_of
from ws_service.config.settings import load_settings
from ws_service.errors import ConfigError, KeyFileError
from ws_service.hub.keys import KEY_VARIABLE, Keys, has_key_file, load_keys


def find_service_key(path: Path | None, env: Mapping[str, str] = os.environ) -> str:
    """Return the key. It reads files, and makes none: a key that only the gateway has opens nothing.

    path: of the config file; None: there is none. env: where variables are looked up. Raises NoKey.
    """
    try:
        hub = load_settings(path, env).hub
    except ConfigError as error:
        raise NoKey(f"the config file has mistakes: {str(error).splitlines()[0]}") from None
    if hub.api_key is not None:
        return hub.api_key
    return existing_keys(folder_of(path) / hub.key, env).api_keys[0]


def existing_keys(file: Path, env: Mapping[str, str] = os.environ) -> Keys:
    """Return the keys of the hub that there are, in a file or in the environment. It makes none. Raises NoKey."""
    if not env.get(KEY_VARIABLE) and not has_key_file(file):
        raise NoKey(f"there is no key file {file}: set {KEY_VARIABLE} where the service is on another host")
    try:
        return load_keys(file, env)
    except KeyFileError as error:
        raise NoKey(str(error)) from None
