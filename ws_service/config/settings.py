"""The ``ws_service`` section of ``config.yaml``: every setting with its default, its unit and its danger."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network
from keyword import iskeyword
from os import environ
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from ws_service.config.addresses import Network, SocketPath, listen_like
from ws_service.config.file import ConfigFile, Section, load
from ws_service.config.hub_settings import MEMORY, HubSettings
from ws_service.config.mistakes import Conflict
from ws_service.config.sections import HANDOFF, SERVICE_LISTEN
from ws_service.config.units import Duration, Size, format_duration, parse_duration

NAME = "ws_service"
"""The section's key in the file."""


def parse_app(value: object) -> str | None:
    """Check the name of the user's app: ``module:attr``, both may be dotted.

    Returns it as it came; None is no app. Raises ValueError with a sentence for the operator. It is not imported here.
    """
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not the name of an app; write module:attr, for example app:app")
    module, colon, attr = value.partition(":")
    if module.endswith(".py") or "/" in module:
        dotted = module.removesuffix(".py").strip("./").replace("/", ".")
        raise ValueError(f"{value!r} is a path; write the module's name: {dotted}:{attr or 'app'}")
    if not colon:
        first, dot, last = value.rpartition(".")
        better = f"{first}:{last}" if dot else f"{value or 'app'}:app"
        raise ValueError(f"{value!r} names no attribute; write module:attr, for example {better}")
    if not _is_dotted_name(module) or not _is_dotted_name(attr):
        raise ValueError(f"{value!r} is not the name of an app; write module:attr, for example app:app")
    return value


def _is_dotted_name(text: str) -> bool:
    return all(part.isidentifier() and not iskeyword(part) for part in text.split("."))


App = Annotated[str | None, BeforeValidator(parse_app)]


def parse_ping(value: object) -> float | None:
    """Read a duration of pings into seconds; ``off``, ``false`` and null are None. Raises ValueError."""
    if value is None or value is False or value == "off":
        return None
    seconds = parse_duration(value)
    if not seconds:
        raise ValueError("0 leaves no time for a ping; write off for no limit, or a duration: 20s")
    return seconds


def _format_ping(seconds: float | None) -> str:
    return "off" if seconds is None else format_duration(seconds)


Ping = Annotated[float | None, BeforeValidator(parse_ping), PlainSerializer(_format_ping)]
"""Seconds in the program, ``20s`` or ``off`` in the file."""

LOOPBACK = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))


class Settings(Section):
    """The WebSocket service's settings."""

    listen: Annotated[str, listen_like(SERVICE_LISTEN)] = SERVICE_LISTEN
    """Where the gateway finds the service; ``gateway.upstreams.ws`` must say the same. A ``unix:`` path is
    relative to the config file, and open to the owner and the group of the process alone. Danger: an address
    that others can reach lets them past the gateway."""

    handoff: SocketPath = HANDOFF
    """The socket file through which the gateway hands over the sockets of its clients; ``gateway.handoff`` must
    say the same. Relative to the config file, and open to the user of the process alone: so the gateway runs as
    the same user. ``off``: the gateway's tunnels carry every WebSocket."""

    workers: Annotated[int, Field(ge=1, le=64)] = 1
    """Processes that share the sockets, run by uvicorn. Each imports the app for itself: what they must all see
    belongs into a database or a message queue."""

    app: App = None
    """``module:attr`` whose WebSocket endpoints are served: a Dash app on FastAPI, a FastAPI or Starlette
    app, or a router. The module is looked for beside the config file, then where Python looks. None: every
    handshake is refused. Danger: what the module does when it is imported happens in this process too."""

    max_message: Annotated[Size, Field(ge=1024)] = 32 << 20
    """Bytes of the largest message that a client may send, all fragments together and inflated; a larger one
    closes its socket with 1009. Danger: inflating one takes the process 1 to 2 ms for each MiB. Precedents:
    websockets 1 MiB, uvicorn 16 MiB."""

    memory_per_client: Annotated[Size, Field(ge=65536)] = 32 << 20
    """Bytes that one client (an IPv4 address, an IPv6 /64) may make each process hold with all of its sockets
    together, in messages that are not finished and messages that an endpoint has not taken, inflated; the socket
    that would exceed it is closed with 1009. Below ``max_message`` it is the limit of a message too. Danger: many
    users behind one address share it, and too little closes sockets of endpoints that receive slowly."""

    handshake: Duration = 60.0
    """For an endpoint to answer a handshake; 504 after it. A handshake through the gateway has its
    ``timeouts.handshake`` (15 s), on both ways; this one is for clients that connect to ``listen`` without the gateway,
    and for a gateway that waits longer. Precedents: nginx 60s, uvicorn none."""

    ws_ping_interval: Ping = 20.0
    """Between two pings to each client, so that proxies on the way see a byte and clients that have vanished are
    found. ``off``: no pings; such a client is found by TCP alone, within 45 s on Linux."""

    ws_ping_timeout: Ping = 20.0
    """For a client to answer a ping; its socket is closed with 1011 after it. ``off``: however long, for clients
    that answer none. Danger: with ``off`` a client that hangs keeps its socket and its endpoint."""

    drain: Duration = 20.0
    """At a stop, for endpoints to end once their sockets are closed with 1012; then they are cancelled. 0
    cancels at once. Keep it below the timeout of what stops the service (systemd 90s, Kubernetes 30s)."""

    hub: HubSettings = HubSettings()
    """Topics that pages subscribe to, and what is published to them (docs/hub.md). Where it is not written and
    ``workers`` is above 1, there is no hub."""

    trusted_proxies: tuple[Network, ...] = LOOPBACK
    """Gateways whose X-Forwarded-For and X-Forwarded-Proto are trusted, so that an endpoint sees the address of the
    browser and not the gateway's. A peer that connects over a unix socket is always trusted. Danger: a peer in here can
    claim any address."""

    @model_validator(mode="after")
    def _is_one_hub(self) -> Settings:
        if self.workers > 1 and "hub" in self.model_fields_set and self.hub.enabled and self.hub.broker == MEMORY:
            raise Conflict(
                f"workers is {self.workers}, and hub.broker is {MEMORY}: each process would have a hub of its own, "
                "and a publication reach the clients of one of them; write workers: 1, or broker: redis://host:6379/0",
                "workers",
                "hub",
            )
        return self

    @property
    def has_hub(self) -> bool:
        """Whether there is a hub: several processes have none together, unless a broker connects them."""
        return self.hub.enabled and (self.workers == 1 or self.hub.broker != MEMORY)


def load_settings(path: Path | ConfigFile | None, env: Mapping[str, str] = environ) -> Settings:
    """Read the service's section of a file; None means every default. ConfigError holds all mistakes."""
    return load(path, NAME, Settings, env)
