"""The settings ``ws_service.hub``: topics, which clients may use them, the broker, keys and limits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl, urlsplit

from pydantic import BeforeValidator, Field, PlainSerializer, ValidationInfo, field_validator

from ws_service.config.file import Section
from ws_service.config.secret import HIDDEN, Secret, hide_password, password_of
from ws_service.config.sections import HUB_KEY
from ws_service.config.units import Duration, Size
from ws_service.logs.formatter import shown

MEMORY = "memory"
"""The broker in the process itself."""

_BROKERS = ("redis", "rediss", "valkey", "valkeys", "unix")
"""Schemes of the URL of a broker. ``rediss``, ``valkeys``: with TLS; ``unix``: a socket file."""

_OPTIONS = frozenset("db ssl_ca_certs ssl_cert_reqs ssl_certfile ssl_check_hostname ssl_keyfile".split())
"""The options that a URL of a broker may have, with redis-py's names. None is secret: a password stands before the
host, where it is hidden when settings are printed."""

_SHORTEST_API_KEY = 16
"""Characters: a key that can be guessed lets anyone publish."""

_NAMESPACE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_FIELD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""The name of a header field (RFC 9110, section 5.6.2)."""


def parse_broker(value: object) -> str:
    """Check the name of a broker: ``memory``, or the URL of a Redis or Valkey. Raises ValueError."""
    if value == MEMORY:
        return MEMORY
    advice = "write memory, or redis://host:6379/0"
    if not isinstance(value, str) or "://" not in value:
        named = "what has an @" if "@" in str(value) else shown(value)  # it may have a password
        raise ValueError(f"{named} is not a broker; {advice}")
    # The value is not shown from here on, nor an error about it: it may hold a password.
    rest = value.partition("://")[2]
    _, *after = re.split("[/?]", rest, maxsplit=1)
    if "#" in rest or "@" in "".join(after):
        # Unescaped in a password, these end it (RFC 3986, section 3.2), and its rest would be shown as port or path.
        raise ValueError("has a #, or an @ after its host; write #, @, / and ? of a password as %23, %40, %2F and %3F")
    try:
        parts = urlsplit(value)
        is_placed = bool(parts.path) if parts.scheme == "unix" else bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise ValueError(f"is not the URL of a broker; {advice}") from None
    if parts.scheme not in _BROKERS:
        raise ValueError(f"{parts.scheme}:// is not a broker that is known; {advice}, or rediss:// for TLS")
    if not is_placed:
        raise ValueError(f"{parts.scheme}:// names no place; {advice}")
    options = parse_qsl(parts.query, keep_blank_values=True)
    for option, _ in options:
        if option not in _OPTIONS:
            raise ValueError(f"{shown(option)} is not an option of a broker's URL; {advice}")
    databases = [text for option, text in options if option == "db"]
    if parts.scheme != "unix":
        databases += filter(None, [parts.path.strip("/")])
    if not all(text.isascii() and text.isdecimal() for text in databases):
        raise ValueError(f"its database is no number; {advice}")
    if password_of(value) == HIDDEN:
        raise ValueError(f"{HIDDEN} stands for a password in printed settings; write ${{REDIS_PASSWORD}}")
    return value


def parse_api_key(value: object) -> str | None:
    """Check the API's key; None: it is derived from the hub's key. Raises ValueError, which does not show it."""
    if value is None:
        return None
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("is not a key; write text of printable ASCII characters without spaces, or ${HUB_API_KEY}")
    if len(value) < _SHORTEST_API_KEY:
        raise ValueError(
            f"has {len(value)} characters, and a key of fewer than {_SHORTEST_API_KEY} can be guessed; "
            "make one: openssl rand -hex 32"
        )
    return value


def parse_key_file(value: object) -> str:
    """Check the path of the key file. Raises ValueError."""
    if not isinstance(value, str) or not value or "\0" in value or value.endswith("/"):
        raise ValueError(f"{shown(value)} is not the path of a file; write {HUB_KEY}")
    return value


def parse_field(value: object) -> str | None:
    """Check the name of a header field; None: none. Raises ValueError."""
    if value is None:
        return None
    if not isinstance(value, str) or not _FIELD.fullmatch(value):
        raise ValueError(f"{shown(value)} is not the name of a header field; write X-User")
    return value


Rights = Literal["none", "signed", "users", "anyone"]


class TopicSettings(Section):
    """How the topics of a namespace behave. What a namespace does not say is as in ``default``."""

    history: Annotated[int, Field(ge=0, le=100_000)] = 100
    """Publications of each topic that are kept, for pages that load later and for what a client misses while it is
    disconnected; 0 keeps none, and then nothing is recovered. Danger: with the memory broker each is kept in the
    process. Precedent: AnyCable 100."""

    ttl: Annotated[Duration, Field(gt=0)] = 300.0
    """For history to be kept after the newest publication of a topic. Precedent: AnyCable 5m."""

    recovery: Literal["cache", "stream"] = "cache"
    """What a client gets that subscribes, or comes back. ``cache``: the newest value, also at its first subscription.
    ``stream``: every publication that it has missed, in order, or the fact that some are lost."""

    presence: bool = False
    """Whether subscribers may ask which clients are subscribed."""

    join_leave: bool = False
    """Whether subscribers are told of each client that comes and goes. Danger: a thousand clients that connect again
    are a million messages."""

    subscribe: Rights = "signed"
    """Which clients may subscribe, and with that read history and presence. ``signed``: those with a token for the
    topic, which ``Live`` writes into the page; ``users``: those whose user is known; ``anyone``: all; ``none``: no
    client. A token for the topic is enough with ``users`` too."""

    publish: Rights = "none"
    """Which clients may publish. ``signed``: those that are subscribed to the topic; ``users``: those whose user is
    known; ``anyone``: all; ``none``: no client, only programs of the server. Danger: what a client publishes reaches
    the pages of others, which have to distrust it."""

    rate: Annotated[float, Field(gt=0, le=10_000)] = 10.0
    """Publications a second of one client, on average over ten seconds; more are refused with error 111."""

    slow: Literal["latest", "drop-oldest", "disconnect"] | None = None
    """What happens to publications for a client that does not read as fast. ``latest``: the newest of each topic is
    kept; ``drop-oldest``: as many as fit into ``queue``; ``disconnect``: the client is disconnected with 3008, comes
    back and recovers. None: ``disconnect`` with ``recovery: stream``, where each publication counts, and else
    ``latest``."""


class HubSettings(Section):
    """The hub's settings."""

    enabled: bool = True
    """Whether there is a hub. It serves each path that ends in ``/connection/websocket`` and
    ``/connection/uni_sse``, and to other programs of this host ``/api``; with ``false`` they are the app's."""

    broker: Annotated[str, BeforeValidator(parse_broker), PlainSerializer(hide_password), Field(repr=False)] = MEMORY
    """What orders publications and keeps history: ``memory``, in this process, lost with it; or a Redis or Valkey, by
    which several processes and machines are one hub: ``redis://host:6379/0``, ``rediss://`` with TLS, also
    ``valkey://`` and ``valkeys://``. It needs the package's extra ``redis``. With ``workers`` above 1 it cannot be
    ``memory``."""

    history_memory: Annotated[Size, Field(ge=1 << 20)] = 64 << 20
    """Bytes of all histories together with the broker ``memory``; above them the topic that was used least lately loses
    its history, and its subscribers are told. A Redis or Valkey has its own ``maxmemory``."""

    key: Annotated[str, BeforeValidator(parse_key_file)] = HUB_KEY
    """The file of the key that signs tokens. Whichever process needs it first makes it, for its own user alone.
    Relative to the config file. Elsewhere the environment variable ``DASH_WS_HUB_KEY`` has the key. While
    ``<key>.previous`` is there, tokens signed with the key in it (or in ``DASH_WS_HUB_PREVIOUS_KEY``) stay valid."""

    api_key: Annotated[Secret | None, BeforeValidator(parse_api_key), Field(repr=False)] = None
    """The key of the HTTP API, 16 characters or more; it is not printed. None: it is derived from ``key``, and
    ``publish()`` needs none. Write one for programs that cannot read the file: ``${HUB_API_KEY}``. Danger: it lets its
    owner publish to each topic, and end each connection."""

    user_header: Annotated[str | None, BeforeValidator(parse_field)] = None
    """The header field with the user's name, set by a rule of ``gateway.auth`` with ``copy_headers``. None: only tokens
    name a user. Danger: without such a rule a client could write it; the check of the file refuses that."""

    default: TopicSettings = TopicSettings()
    """Topics without a namespace, and those whose namespace is not below ``namespaces``."""

    namespaces: Mapping[str, TopicSettings] = {}
    """By namespace, which is a topic's name up to the first colon: ``prices`` for ``prices:AAPL``."""

    max_message: Annotated[Size, Field(ge=1024, le=64 << 20)] = 64 << 10
    """Bytes of the largest message that a client may send. Precedent: Centrifugo 64KiB."""

    max_publication: Annotated[Size, Field(ge=1024, le=64 << 20)] = 1 << 20
    """Bytes of the largest publication through the API, and of a batch together (64 KiB of names and tags are not
    counted); 413 above it. Danger: each is held once for all clients, and once in the history."""

    queue: Annotated[Size, Field(ge=4096)] = 1 << 20
    """Bytes that may wait for one client that does not read. Precedents: Centrifugo and AnyCable 1MiB."""

    subscriptions: Annotated[int, Field(ge=1, le=10_000)] = 128
    """Topics that one connection may subscribe to. Precedent: Centrifugo 128."""

    recovered: Annotated[int, Field(ge=1, le=10_000)] = 300
    """Publications that a client gets at most when it comes back; with more it is told that it cannot recover.
    Precedent: Centrifugo 300."""

    presence_names: Annotated[int, Field(ge=1, le=100_000)] = 1000
    """Clients that an answer about presence names at most; above it there is error 106, and their number can still be
    had. Danger: naming 1,000 takes 100 KiB."""

    ping: Annotated[Duration, Field(ge=1)] = 25.0
    """Between two pings to each client; keep it below the idle timeout of proxies on the way. Precedent: Centrifugo
    25s."""

    pong: Annotated[Duration, Field(ge=0.1)] = 8.0
    """For a client to answer a ping; then it is disconnected (3012). Less than ``ping``. Precedent: Centrifugo 8s."""

    connect: Annotated[Duration, Field(ge=0.1)] = 10.0
    """For a client to send its first command; then it is disconnected (3502). Precedent: Centrifugo 10s."""

    @field_validator("pong")
    @classmethod
    def _is_before_the_next_ping(cls, value: float, info: ValidationInfo) -> float:
        if value >= info.data.get("ping", float("inf")):
            raise ValueError("is not less than ping; a client is to answer before the next one")
        return value

    @field_validator("namespaces", mode="before")
    @classmethod
    def _are_names(cls, value: Any) -> Any:
        for name in value if isinstance(value, dict) else ():
            if not _NAMESPACE.fullmatch(str(name)):
                colon = f"; write {str(name)[:-1]} without the colon" if str(name).endswith(":") else ""
                raise ValueError(
                    f"{shown(name)} is not the name of a namespace: 1 to 64 letters, digits, dots, hyphens and "
                    f"underscores{colon}"
                )
        return value

    @field_validator("namespaces")
    @classmethod
    def _take_the_rest_of_default(
        cls, value: Mapping[str, TopicSettings], info: ValidationInfo
    ) -> Mapping[str, TopicSettings]:
        default = info.data.get("default", TopicSettings())
        return {name: _completed(topics, default) for name, topics in value.items()}


def _completed(topics: TopicSettings, default: TopicSettings) -> TopicSettings:
    unsaid = TopicSettings.model_fields.keys() - topics.model_fields_set
    return topics.model_copy(update={name: getattr(default, name) for name in unsaid})
