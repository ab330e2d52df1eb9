"""The hub of one process, built of the settings."""

from __future__ import annotations

import logging
import os
import platform
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from ws_service.config.hub_settings import MEMORY, HubSettings
from ws_service.config.settings import Settings
from ws_service.errors import ExtraError, KeyFileError
from ws_service.hub.api import ENVELOPE, Api
from ws_service.hub.api_keys import ApiKeys
from ws_service.hub.api_methods import Methods
from ws_service.hub.broker import Broker
from ws_service.hub.brokers.memory import MemoryBroker
from ws_service.hub.hub import Hub
from ws_service.hub.keys import Keys, load_keys
from ws_service.hub.limits import Limits
from ws_service.hub.permissions import Permissions
from ws_service.hub.sse import EventStreams
from ws_service.hub.tokens import Tokens
from ws_service.hub.topics import Namespaces
from ws_service.logs.limited_log import LimitedLog

log = logging.getLogger(__name__)
limited = LimitedLog(log)


@dataclass(frozen=True, slots=True)
class Assembled:
    """A hub with the apps that belong to it. max_publication: bytes, as in the settings. api_keys: of its API."""

    hub: Hub
    api: Api
    streams: EventStreams
    max_publication: int
    api_keys: ApiKeys

    def stop(self) -> None:
        """Take no more clients, and end the event streams. The server closes the sockets."""
        self.hub.stop()
        self.streams.stop()


def assemble(settings: Settings, folder: Path) -> Assembled | None:
    """Build the hub; None: the settings say that there is none, or nothing of it and no key can be had.

    folder: what the path of the key file starts from.

    Raises KeyFileError where the settings name the hub. Where they do not, the service runs without one, and the log
    says why. Raises ExtraError where the broker's client is not installed.
    """
    if not settings.has_hub:
        return None
    try:
        keys = load_keys(folder / settings.hub.key)
    except KeyFileError as error:
        if "hub" in settings.model_fields_set:
            raise
        log.warning("there is no hub: %s", error)
        return None
    namespaces = Namespaces.from_settings(settings.hub)
    permissions = Permissions(namespaces, Tokens(keys), _say_foreign)
    limits = Limits.from_settings(settings.hub)
    hub = Hub(_broker(settings.hub), namespaces, permissions, limits, settings.hub.user_header)
    api_keys = ApiKeys(accepted_keys(settings.hub, keys))
    return Assembled(hub, _api(hub, settings.hub, api_keys), EventStreams(hub), settings.hub.max_publication, api_keys)


def accepted_keys(settings: HubSettings, keys: Keys) -> Sequence[str]:
    """Return the keys that the API accepts: the one that the settings name, or those that are derived."""
    return keys.api_keys if settings.api_key is None else [settings.api_key]


def _say_foreign(purpose: str) -> None:
    limited.say(
        "foreign token",
        logging.WARNING,
        "refused a token for %s: it is signed with another key than this service's; Dash and the service need the same "
        "config file, or the same DASH_WS_HUB_KEY. A page from before the key was changed is to be loaded again",
        purpose,
    )


def _api(hub: Hub, settings: HubSettings, keys: ApiKeys) -> Api:
    methods = Methods(hub, f"{platform.node()}_{os.getpid()}", str(uuid.uuid4()), settings.presence_names)
    return Api(methods, keys, settings.max_publication + ENVELOPE)


def _broker(settings: HubSettings) -> Broker:
    if settings.broker == MEMORY:
        return MemoryBroker(settings.history_memory)
    try:
        redis = import_module("ws_service.hub.brokers.redis")
    except ModuleNotFoundError as error:
        if error.name != "redis":
            raise
        raise ExtraError("ws_service.hub.broker needs redis-py: pip install redis") from None
    broker: Broker = redis.RedisBroker(settings.broker)
    return broker
