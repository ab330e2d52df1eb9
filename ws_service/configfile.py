"""The language of ``config.yaml``: one file, a section for each program, every mistake with its line.

This room knows YAML, ``${VAR}``, units and how to word a mistake. It does
not know a single setting: those are pydantic models in the ``config``
module of each program.

The gateway imports it too, through the one door that the import contracts
leave open (docs/decisions/001-one-reader-for-config.md).
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, ValidationError
from pydantic_core import ErrorDetails

from ws_service.errors import ConfigError, Mistake

SECTIONS = ("gateway", "ws_service", "dash_app")
"""The sections that a config file may have; each program reads its own."""

_MAX_FILE = 1 << 20
"""Bytes. A config is a few KiB; more is a wrong path (a log, a database)."""

_VARIABLE = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}")
_NUMBER = r"(?P<number>[0-9]{1,12}(?:\.[0-9]{1,24})?)"
"""Digits are counted so that no text becomes infinity; 12 are a terabyte."""

_DURATION = re.compile(_NUMBER + r"(?P<unit>ms|s|m|h|d)")
_SIZE = re.compile(_NUMBER + r"(?P<unit>B|KiB|MiB|GiB)")
_SECONDS = {
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86400),
}
_CENTURY = 36525 * _SECONDS["d"]
_BYTES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}

_WANTED = {
    "string": "text",
    "int": "a whole number",
    "bool": "true or false",
    "float": "a number",
    "tuple": "a list",
}
"""pydantic's names of types, in words for whoever wrote the file."""

Path_ = tuple[str | int, ...]
Place = tuple[int, int]
M = TypeVar("M", bound="Section")
Objection = tuple[Path_, str]
"""The way to a setting from its section, and what is wrong with it."""


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, but ``on``, ``off``, ``yes`` and ``no`` stay words, as in YAML 1.2.

    YAML 1.1 makes booleans of them, and ``handoff: off`` would mean False.
    A setting that is true or false still takes all four: pydantic reads them.
    """


_Loader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("true|True|TRUE|false|False|FALSE"), list("tTfF"))


class Section(BaseModel):
    """What every section is: frozen, and strict about unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def parse_duration(value: object) -> float:
    """Read ``30s``, ``1.5s``, ``250ms``, ``5m``, ``1h`` or ``2d`` into seconds.

    Raises ValueError for anything else, a bare number too: without its unit
    nobody can tell seconds from milliseconds. The one exception is 0.
    """
    if isinstance(value, int | float) and not isinstance(value, bool) and value == 0:
        return 0.0
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{_shown(value)} is not a duration; write a number with its unit: 30s, 500ms, 5m, 1h")
    seconds = Decimal(match["number"]) * _SECONDS[match["unit"]]
    if seconds > _CENTURY:
        raise ValueError(f"{_shown(value)} is longer than a century")
    return float(seconds)


def parse_size(value: object) -> int:
    """Read ``64KiB``, ``1MiB``, ``2GiB`` or ``512B`` into bytes; ValueError for anything else."""
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{_shown(value)} is not a size; write a number with its unit: 64KiB, 1MiB, 2GiB")
    return int(Decimal(match["number"]) * _BYTES[match["unit"]])


def format_duration(seconds: float) -> str:
    """Write seconds the way ``parse_duration`` reads them, in the largest unit that is exact."""
    exact = Decimal(repr(seconds))
    for unit in ("d", "h", "m", "s"):
        count = exact / _SECONDS[unit]
        if count >= 1 and count == int(count):
            return f"{int(count)}{unit}"
    unit = "s" if seconds >= 1 or not seconds else "ms"
    return f"{(exact / _SECONDS[unit]).normalize():f}{unit}"


def format_size(count: int) -> str:
    """Write bytes the way ``parse_size`` reads them, in the largest unit that is exact."""
    for unit in ("GiB", "MiB", "KiB"):
        if count and count % _BYTES[unit] == 0:
            return f"{count // _BYTES[unit]}{unit}"
    return f"{count}B"


Duration = Annotated[float, BeforeValidator(parse_duration), PlainSerializer(format_duration)]
"""Seconds in the program, ``30s`` in the file."""

Size = Annotated[int, BeforeValidator(parse_size), PlainSerializer(format_size)]
"""Bytes in the program, ``1MiB`` in the file."""


def parse_listen(value: object) -> str:
    """Check an address to listen on: ``host:port``, ``[v6]:port`` or ``unix:path``.

    The host ``*`` is every address, IPv4 and IPv6. Returns it as it came. Raises ValueError with a sentence for the
    operator.
    """
    if not isinstance(value, str):
        raise ValueError(f"{_shown(value)} is not an address; write host:port, for example 127.0.0.1:8000")
    if value.startswith("unix:"):
        if not value[5:]:
            raise ValueError("the path after unix: is missing")
        return value
    host, colon, port = value.rpartition(":")
    if not colon or not host:
        every = f"; '*:{port}' is every address of this host" if colon else ""
        raise ValueError(f"{_shown(value)} is not an address; write host:port, for example 127.0.0.1:8000{every}")
    if ":" in host and not (host.startswith("[") and host.endswith("]") and _is_ipv6(host[1:-1])):
        raise ValueError(_advice_on_ipv6(value))
    check_port(port)
    return value


def _advice_on_ipv6(value: str) -> str:
    """Return what to write instead of an address with colons that cannot be read.

    ``::8000`` is an IPv6 address too, but meant are ``::`` and a port.
    """
    host, _, port = value.rpartition(":")
    if host == ":" and len(port) > 1:
        return f"{_shown(value)}: an IPv6 address needs brackets: [::]:{port}, or '*:{port}' for IPv4 as well"
    if _is_ipv6(host):
        return f"{_shown(value)}: an IPv6 address needs brackets: [{host}]:{port}"
    address = value.strip("[]")
    if _is_ipv6(address):
        return f"{_shown(value)} has no port; write [{address}]:8000"
    return f"{_shown(value)} is not an address; write host:port, for example 127.0.0.1:8000 or [::1]:8000"


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


def check_port(text: str) -> int:
    """Return a port from its digits; ValueError when it is not a number from 1 to 65535."""
    if not re.fullmatch(r"[0-9]{1,10}", text):
        raise ValueError(f"port {_shown(text)} is not a number")
    if not 1 <= int(text) <= 65535:
        raise ValueError(f"port {text} is out of range (1 to 65535)")
    return int(text)


def split_listen(address: str) -> tuple[str, int] | str:
    """Split a checked address: ``(host, port)`` without brackets, or the path of a unix socket."""
    if address.startswith("unix:"):
        return address[5:]
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


Listen = Annotated[str, BeforeValidator(parse_listen)]
"""``host:port``, ``[v6]:port`` or ``unix:path``."""


def parse_socket_path(value: object) -> str:
    """Check the path of a socket file, or ``off``; a bare ``false`` is read as that too. Raises ValueError."""
    if value is False:
        return "off"
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError(f"{_shown(value)} is not the path of a socket file; write run/ws.sock, or off")
    return value


SocketPath = Annotated[str, BeforeValidator(parse_socket_path)]
"""The path of a socket file, or ``off``."""


def parse_network(value: object) -> IPv4Network | IPv6Network:
    """Read ``10.0.0.7`` or ``10.0.0.0/8`` into a network; ValueError for anything else."""
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    try:
        return ip_network(str(value), strict=False)
    except ValueError:
        raise ValueError(f"{_shown(value)} is not a network; write 10.0.0.7 or 10.0.0.0/8") from None


Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(parse_network), PlainSerializer(str)]
"""An address or a network of addresses."""


def load(
    path: Path | None,
    name: str,
    model: type[M],
    env: Mapping[str, str] = os.environ,
    check: Callable[[M], Iterable[Objection]] = lambda _: (),
) -> M:
    """Read one section of a config file.

    path: the file; None means "no config", which is every default.
    name: the section, one of ``SECTIONS``.
    model: the section's settings.
    env: where ``${VAR}`` is looked up.
    check: objects to settings that are well-formed, and can be wrong all the same (a file that is not there).

    Raises ConfigError with every mistake of the section and of the file's
    top level; mistakes in another program's section are that program's.
    """
    if path is None:
        return model()
    source = str(path)
    text = _read(path)
    document, places = _parse(text, source)
    mistakes = list(_top_level(document, places, source))
    if mistakes and not isinstance(document, dict):
        raise ConfigError(source, mistakes)
    section = document.get(name) if isinstance(document, dict) else None
    values = _interpolated({} if section is None else section, (name,), places, env, mistakes)
    try:
        result = model.model_validate(values)
    except ValidationError as error:
        seen = {m.key for m in mistakes}
        found = [_mistake(details, name, model, places) for details in error.errors()]
        mistakes += [m for m in found if m.key not in seen]
    if not mistakes:
        for keys, message in check(result):
            at = (name, *keys)
            mistakes.append(Mistake(message, _dotted(at), *_place(at, places)))
    if mistakes:
        raise ConfigError(source, mistakes)
    return result


def dump(name: str, section: Section) -> str:
    """Write a section as the YAML that would give it back: every setting with its value."""
    return yaml.safe_dump({name: section.model_dump(mode="json")}, sort_keys=False, width=110)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_FILE + 1)
    except FileNotFoundError:
        where = path.absolute().parent
        raise ConfigError(str(path), [Mistake(f"there is no such file (looked in {where})")]) from None
    except OSError as error:
        raise ConfigError(str(path), [Mistake(f"cannot be read: {error.strerror}")]) from error
    if len(raw) > _MAX_FILE:
        raise ConfigError(str(path), [Mistake("is larger than 1 MiB; is this the right file?")])
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(str(path), [Mistake("is not UTF-8 text", line=line)]) from None


def _parse(text: str, source: str) -> tuple[object, dict[Path_, Place]]:
    """Parse YAML into values and, for every key and item, its (line, column)."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        places: dict[Path_, Place] = {}
        duplicates: list[Mistake] = []
        if node is not None:
            _locate(node, (), places, duplicates)
        if duplicates:
            raise ConfigError(source, duplicates)
        document = loader.construct_document(node) if node is not None else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = " ".join(part for part in (error.context, error.problem) if part)
        place = (mark.line + 1, mark.column + 1) if mark else (None, None)
        raise ConfigError(source, [Mistake(f"is not valid YAML: {what}", "", *place)]) from None
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(source, [Mistake(f"is not valid YAML: {error}")]) from None
    except RecursionError:
        raise ConfigError(source, [Mistake("is nested too deeply")]) from None
    finally:
        loader.dispose()
    return document, places


def _locate(node: yaml.Node, path: Path_, places: dict[Path_, Place], duplicates: list[Mistake]) -> None:
    if path in places and isinstance(node, yaml.CollectionNode) and len(path) > 32:
        raise RecursionError  # an alias that holds itself
    if isinstance(node, yaml.MappingNode):
        for key_node, value_node in node.value:
            here = (*path, str(key_node.value))
            place = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            if here in places:
                first = places[here][0]
                duplicates.append(Mistake(f"is written twice; the first is on line {first}", _dotted(here), *place))
            places[here] = place
            _locate(value_node, here, places, duplicates)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            places[(*path, index)] = (item.start_mark.line + 1, item.start_mark.column + 1)
            _locate(item, (*path, index), places, duplicates)


def _top_level(document: object, places: Mapping[Path_, Place], source: str) -> Iterator[Mistake]:
    if document is None:
        yield Mistake("is empty; leave --config out to run on the defaults, or write a section: " + ", ".join(SECTIONS))
    elif not isinstance(document, dict):
        yield Mistake(f"holds {_kind(document)}; expected sections: {', '.join(SECTIONS)}", line=1)
    else:
        for key in document:
            if key not in SECTIONS:
                yield Mistake(_unknown(str(key), SECTIONS), str(key), *places.get((str(key),), (None, None)))


def _interpolated(
    value: object, path: Path_, places: Mapping[Path_, Place], env: Mapping[str, str], mistakes: list[Mistake]
) -> Any:
    """Return ``value`` with each ``${VAR}`` replaced; an unset one without a default is a mistake."""
    if isinstance(value, dict):
        return {k: _interpolated(v, (*path, str(k)), places, env, mistakes) for k, v in value.items()}
    if isinstance(value, list):
        return [_interpolated(v, (*path, i), places, env, mistakes) for i, v in enumerate(value)]
    if not isinstance(value, str) or "${" not in value:
        return value

    def replace(match: re.Match[str]) -> str:
        name, default = match["name"], match["default"]
        if env.get(name):
            return env[name]
        if default is None:
            message = f"the environment variable {name} is not set; set it, or give a default: ${{{name}:-value}}"
            mistakes.append(Mistake(message, _dotted(path), *places.get(path, (None, None))))
            return ""
        return str(default)

    return _VARIABLE.sub(replace, value)


def _mistake(details: ErrorDetails, name: str, model: type[BaseModel], places: Mapping[Path_, Place]) -> Mistake:
    path: Path_ = (name, *details["loc"])
    while path not in places and len(path) > 1 and details["type"] != "missing":
        path = path[:-1]  # pydantic adds steps of its own, for the branches of a union
    return Mistake(_message(details, model), _dotted(path), *_place(path, places))


def _place(path: Path_, places: Mapping[Path_, Place]) -> Place | tuple[None, None]:
    """Return where a setting is written, or what is around it."""
    return next((places[path[:n]] for n in range(len(path), 0, -1) if path[:n] in places), (None, None))


def _message(details: ErrorDetails, model: type[BaseModel]) -> str:
    kind, value = details["type"], details["input"]
    if kind == "extra_forbidden":
        *parents, key = details["loc"]
        return _unknown(str(key), _fields(model, parents))
    if kind == "missing":
        return "is missing"
    if kind == "value_error":
        return str(details["ctx"]["error"])
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return f"expected settings (key: value), got {_kind(value)}"
    if kind.endswith("_type") or kind.endswith("_parsing"):
        noun = kind.rsplit("_", 1)[0]
        return f"expected {_WANTED.get(noun, 'a ' + noun)}, got {_kind(value)}"
    message = details["msg"]
    return f"{message[0].lower()}{message[1:]}, got {_shown(value)}"


def _fields(model: type[BaseModel], parents: list[str | int]) -> list[str]:
    """Return the keys that the model allows at ``parents``."""
    current: Any = model
    for step in parents:
        if isinstance(step, int):
            continue
        annotation = current.model_fields[step].annotation
        kinds = (annotation, *get_args(annotation))
        found = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if not found:
            return []
        current = found[0]
    return list(current.model_fields)


def _unknown(key: str, known: list[str] | tuple[str, ...]) -> str:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    if near:
        return f"is not a setting; did you mean {near[0]}?"
    return f"is not a setting; known here: {', '.join(known)}"


def _dotted(path: Path_) -> str:
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _kind(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "settings (key: value)"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool):
        return f"{str(value).lower()}"
    if isinstance(value, int | float):
        return f"the number {value}"
    return f"the text {_shown(value)}"
