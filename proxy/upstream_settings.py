"""The setting ``gateway.upstreams``: the programs behind the gateway by name, each at one address or at several."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address
from typing import Annotated, Any, cast
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from ws_service.config.addresses import SocketPath, check_host, check_port
from ws_service.config.file import Section
from ws_service.config.sections import DASH_LISTEN, SERVICE_LISTEN

_NETLOC = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._-]+)(?::(?P<port>.*))?")

_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")

NAMES = "a name of your own has small letters, digits and hyphens, and begins with a letter: api"
"""What an upstream may be called."""


def _upstream_url(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected a URL such as http://127.0.0.1:8050, got {value!r}")
    if value.startswith("unix:"):
        if not value[5:]:
            raise ValueError("the path after unix: is missing")
        return value
    try:
        parts = urlsplit(value)
    except ValueError as error:
        raise ValueError(f"{value!r} is not a URL: {error}") from None
    if parts.scheme not in ("http", "https"):
        scheme = "https" if parts.scheme == "wss" else "http"
        better = f"{scheme}://{value.partition('://')[2] or value or 'host:port'}"
        raise ValueError(f"{value!r} does not begin with http://, https:// or unix:; write {better}")
    # urlsplit drops empty queries, empty fragments, tabs and line ends silently.
    is_whole = value == value.strip() and value.isprintable() and not set("?#@") & set(value)
    if not is_whole or parts.path not in ("", "/"):
        raise ValueError(
            f"{value!r} holds more than a host and a port; paths are passed on as they come, "
            "so write http://host:port alone"
        )
    match = _NETLOC.fullmatch(parts.netloc)
    if match is None:
        raise ValueError(f"{value!r} names no host; write http://host:port")
    if match["port"] is not None:
        check_port(match["port"])
    check_host(match["host"])
    return value.rstrip("/")


Url = Annotated[str, BeforeValidator(_upstream_url)]


def is_on_this_host(url: str) -> bool:
    """Tell whether it is certain that no other host answers at a URL: a unix socket, or a loopback address."""
    if url.startswith("unix:"):
        return True
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


class UpstreamAddress(Section):
    """One of the places where an upstream listens. In the file a URL alone is enough."""

    url: Url
    """``http://host:port``, ``https://host:port`` or ``unix:path``."""

    handoff: SocketPath | None = None
    """The socket file through which the service there takes WebSockets over (``ws_service.handoff`` of its own
    configuration). None: as ``gateway.handoff`` says. ``off``: they are tunnelled. Danger: it must be the service at
    this address."""

    @property
    def is_on_this_host(self) -> bool:
        """Whether it certainly is: a unix socket, or a loopback address."""
        return is_on_this_host(self.url)


def _entries(value: object) -> object:
    """Read a URL, an address with its hand-off, or a list of either."""
    if isinstance(value, list | tuple):
        if not value:
            raise ValueError("is an empty list; write an address such as http://127.0.0.1:8050")
        return tuple(_entry(entry) for entry in value)
    return (_entry(value),)


def _entry(value: object) -> object:
    return value if isinstance(value, Mapping | UpstreamAddress) else {"url": value}


def _written(addresses: Sequence[UpstreamAddress]) -> object:
    """Return addresses as a file would have them: one URL where that is all."""
    entries = [address.url if address.handoff is None else address.model_dump(mode="json") for address in addresses]
    return entries[0] if len(entries) == 1 and isinstance(entries[0], str) else entries


def _different(addresses: tuple[UpstreamAddress, ...]) -> tuple[UpstreamAddress, ...]:
    for number, address in enumerate(addresses):
        if any(address.url == other.url for other in addresses[:number]):
            raise ValueError(f"has {address.url} twice; each address counts once")
    return addresses


Addresses = Annotated[
    tuple[UpstreamAddress, ...],
    BeforeValidator(_entries),
    AfterValidator(_different),
    PlainSerializer(_written),
]
"""One address or several."""


class Upstreams(Section):
    """Where the programs listen: ``http://host:port``, ``https://host:port`` or ``unix:path``.

    A list where the same program runs at several addresses: what comes goes to the one with the fewest under way, and
    one that takes no connection is left out until it is back. Names of your own are for ``routes``.
    """

    model_config = ConfigDict(extra="allow")

    __pydantic_extra__: dict[str, Addresses] = Field(init=False)

    dash: Addresses = (UpstreamAddress(url=f"http://{DASH_LISTEN}"),)
    """The Dash server: Flask or FastAPI, unmodified."""

    ws: Addresses = (UpstreamAddress(url=f"http://{SERVICE_LISTEN}"),)
    """The service that hosts the WebSocket endpoints."""

    @model_validator(mode="before")
    @classmethod
    def _has_names(cls, value: Any) -> Any:
        names = [str(name) for name in value] if isinstance(value, Mapping) else []
        refuse(cls, [((name,), unknown(NAMES)) for name in names if not _NAME.fullmatch(name)], value)
        return value

    @property
    def by_name(self) -> dict[str, tuple[UpstreamAddress, ...]]:
        """All of them."""
        return {name: cast(tuple[UpstreamAddress, ...], addresses) for name, addresses in self}

    @property
    def all_addresses(self) -> Iterator[UpstreamAddress]:
        """The addresses of all of them."""
        for addresses in self.by_name.values():
            yield from addresses


def unknown(rule: str) -> PydanticCustomError:
    """Return the error for a key that is no setting. rule: what the operator's own keys are like."""
    return PydanticCustomError("extra_forbidden", "is not a setting", {"rule": rule})


def refuse(
    model: type[Section], mistakes: Sequence[tuple[tuple[str | int, ...], PydanticCustomError]], value: object
) -> None:
    """Raise ValidationError for mistakes, each at its place in a model; nothing where there are none."""
    if mistakes:
        details = [InitErrorDetails(type=error, loc=place, input=value) for place, error in mistakes]
        raise ValidationError.from_exception_data(model.__name__, details)


def wrong_name(name: str, known: Sequence[str], rule: str) -> PydanticCustomError:
    """Return the error for the name of an upstream that there is none of. known: those that there are."""
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    better = f"did you mean {near[0]}?" if near else rule
    return PydanticCustomError("value_error", "{error}", {"error": f"{name!r} is no upstream; {better}"})


def unused(name: str, known: Sequence[str]) -> str:
    """Return why an upstream of the operator's own gets nothing, and what to do."""
    near = difflib.get_close_matches(name, ("dash", "ws"), n=1, cutoff=0.6)
    meant = f"did you mean {near[0]}? Or" if near else "no route leads to it;"
    return f"{meant} write routes: [{{path: /{name}, to: {name}}}]"
