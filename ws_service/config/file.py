"""The language of ``config.yaml``: one file, a section for each program, every mistake with its line.

This module knows which file is meant, ``${VAR}``, units and how to word a
mistake. It does not know a single setting: those are pydantic models in the
``config`` module of each program.

The gateway imports it too (docs/decisions/001-one-reader-for-config.md).
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar, get_args

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, ValidationError
from pydantic_core import ErrorDetails

from ws_service.config.yaml_text import SECTIONS, Document, Path_, dotted, foreign_indentation, read_document, rewritten
from ws_service.errors import ConfigError, Mistake

DEFAULT_FILE = Path("config.yaml")
"""The file that is read when none is named, in the working directory."""

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

M = TypeVar("M", bound="Section")
Objection = tuple[Path_, str]
"""The way to a setting from its section, and what is wrong with it."""


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


def check_host(host: str) -> str:
    """Return a name or an address that a resolver can be asked for; ValueError for others: Python's raises there."""
    try:
        host.encode("idna")
    except UnicodeError:
        reason = "what stands between two dots is empty, or longer than 63 characters"
        raise ValueError(f"{_shown(host)} is not the name of a host: {reason}") from None
    return host


def split_listen(address: str) -> tuple[str, int] | str:
    """Split a checked address: ``(host, port)`` without brackets, or the path of a unix socket."""
    if address.startswith("unix:"):
        return address[5:]
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


_EXAMPLE = "127.0.0.1:8000"


def listen_like(example: str) -> BeforeValidator:
    """Return ``parse_listen`` with an example of its own in what it says, the setting's default; it checks the host."""

    def parse(value: object) -> str:
        try:
            address = parse_listen(value)
        except ValueError as error:
            raise ValueError(str(error).replace(_EXAMPLE, example)) from None
        place = split_listen(address)
        if isinstance(place, tuple):
            check_host(place[0])
        return address

    return BeforeValidator(parse)


Listen = Annotated[str, listen_like(_EXAMPLE)]
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


class Conflict(ValueError):
    """Settings of one section that are well-formed and do not go together; for a model's own validators.

    message: a sentence for the operator. fields: which settings, by name.
    """

    def __init__(self, message: str, *fields: str) -> None:
        super().__init__(message)
        self.fields = fields


def find(path: Path | None) -> tuple[Path | None, str | None]:
    """Return the config file to read, None for every default; and the sentence that says which, where none was named.

    path: what ``--config`` says. None: ``config.yaml`` of the working directory, if there is one.
    """
    if path is not None:
        return path, None
    here = Path.cwd()
    if os.path.lexists(DEFAULT_FILE):  # a link that leads nowhere too: it is a mistake, and no reason for defaults
        return DEFAULT_FILE, f"using {DEFAULT_FILE} in {here}"
    other = next((name for name in ("config.yml", "config.yaml.txt") if os.path.lexists(name)), None)
    hint = f" (there is a {other}: rename it, or name it with --config)" if other else ""
    return None, f"there is no {DEFAULT_FILE} in {here}; running on the defaults{hint}"


@dataclass
class Reading(Generic[M]):
    """What one section says.

    settings: with the default in the place of each setting that is wrong; None when not even that can be had.
    mistakes: all that are in the section. wrong: where, counted from the section.
    """

    settings: M | None
    mistakes: list[Mistake]
    wrong: set[Path_] = field(default_factory=set)

    def concerns(self, path: Path_) -> bool:
        """Tell whether a setting is wrong already, or is part of what is; then more about it would only confuse."""
        if any(path[:n] in self.wrong for n in range(len(path) + 1)):
            return True
        return any(one[: len(path)] == path for one in self.wrong)


class ConfigFile:
    """A config file that has been read and is YAML.

    path: of the file. known: the models of sections, to say where a misplaced setting belongs.

    Raises ConfigError when nothing can be made of the file.

    ``folder``: what paths in it start from. ``mistakes``: those of the file as a whole, such as keys that are no
    sections and keys that are written twice.
    """

    def __init__(self, path: Path, known: Mapping[str, type[BaseModel]]) -> None:
        self.source = str(path)
        self.folder = path.absolute().parent
        self._known = {name: _homes(model, name) for name, model in known.items()}
        self._document = read_document(path)
        self.mistakes = list(self._document.mistakes)
        value = self._document.value
        if not isinstance(value, dict):
            raise ConfigError(self.source, [_no_sections(value)])
        self._sections = {str(name): section for name, section in value.items()}
        self.mistakes += _misplaced(self._sections, self._document, self._known)

    def has(self, name: str) -> bool:
        """Tell whether a section is written, be it empty."""
        return name in self._sections

    def values(self, name: str, env: Mapping[str, str]) -> dict[str, Any]:
        """Return what a section says with its variables replaced, unchecked; what is no section is an empty one."""
        found = _interpolated(self._sections.get(name), (name,), self._document, env, [])
        return found if isinstance(found, dict) else {}

    def section(self, name: str, model: type[M], env: Mapping[str, str]) -> Reading[M]:
        """Read one section; every mistake in it is found at once.

        A setting that is wrong is left out and the rest is read again: what
        holds between settings is only looked at when each is well-formed.
        """
        reading: Reading[M] = Reading(None, [])
        section = self._sections.get(name)
        values = _interpolated({} if section is None else section, (name,), self._document, env, reading.mistakes)
        unset = {mistake.key for mistake in reading.mistakes}
        if unset:
            reading.wrong |= {path[1:] for path in self._document.places if dotted(path) in unset}
        for path in reading.wrong:
            _drop(values, path)
        while True:
            try:
                reading.settings = model.model_validate(values)
                return reading
            except ValidationError as error:
                wrong: set[Path_] = set()
                for details in error.errors():
                    paths = _concerned(details, values, model)
                    mistake = self._mistake(details, name, model, paths)
                    told = paths if not details["loc"] else {tuple(details["loc"])}
                    if not any(reading.concerns(path) for path in told) and mistake not in self.mistakes:
                        reading.mistakes.append(mistake)
                    wrong |= paths
            if () in wrong or wrong <= reading.wrong:
                return reading
            for path in wrong:
                _drop(values, path)
            reading.wrong |= wrong

    def objection(self, path: Path_, message: str) -> Mistake:
        """Return what is wrong with a setting, with its place. path: begins with its section."""
        return Mistake(message, dotted(path), *self._document.place(path))

    def error(self, mistakes: Iterable[Mistake]) -> ConfigError:
        """Return the error that tells mistakes; a key that was misplaced is told once."""
        return ConfigError(self.source, list({(m.key, m.message): m for m in mistakes}.values()))

    def _mistake(self, details: ErrorDetails, name: str, model: type[BaseModel], concerned: set[Path_]) -> Mistake:
        loc: Path_ = tuple(details["loc"])
        if details["type"] == "extra_forbidden":
            key, parents = str(loc[-1]), loc[:-1]
            message = _stray(key, [str(k) for k in _fields(model, list(parents))], self._known, (name, *parents))
        else:
            message = _message(details)
        path: Path_ = (name, *loc)
        places = self._document.places
        while path not in places and len(path) > 1 and details["type"] != "missing":
            path = path[:-1]  # pydantic adds steps of its own, for the branches of a union
        at = self._document.place(path)
        if not loc and concerned:  # settings that do not go together: where one of them is written
            written = [places[(name, *one)] for one in concerned if (name, *one) in places]
            at = min(written, default=at)
        return Mistake(message, dotted(path), *at)


def load(
    path: Path | ConfigFile | None,
    name: str,
    model: type[M],
    env: Mapping[str, str] = os.environ,
    check: Callable[[M], Iterable[Objection]] = lambda _: (),
) -> M:
    """Read one section of a config file.

    path: the file, which may have been read already; None means "no config", which is every default.
    name: the section, one of ``SECTIONS``.
    model: the section's settings.
    env: where ``${VAR}`` is looked up.
    check: objects to settings that are well-formed, and can be wrong all the same (a file that is not there).

    Raises ConfigError with every mistake of the section and of the file's
    top level; mistakes in another program's section are that program's.
    """
    if path is None:
        return model()
    file = path if isinstance(path, ConfigFile) else ConfigFile(path, {name: model})
    reading = file.section(name, model, env)
    mistakes = [*file.mistakes, *reading.mistakes]
    if reading.settings is not None:
        for keys, message in check(reading.settings):
            if not reading.concerns(keys):
                mistakes.append(file.objection((name, *keys), message))
    if mistakes or reading.settings is None:
        raise file.error(mistakes)
    return reading.settings


def dump(name: str, section: Section) -> str:
    """Write a section as the YAML that would give it back: every setting with its value."""
    return yaml.safe_dump({name: section.model_dump(mode="json")}, sort_keys=False, width=110)


def _no_sections(value: object) -> Mistake:
    if value is None:
        return Mistake("is empty; write a section: " + ", ".join(SECTIONS))
    better = rewritten(value) if isinstance(value, str) else None
    advice = f"; a value follows a colon and a space: {better}" if better else ""
    return Mistake(f"holds {_kind(value)}; expected sections: {', '.join(SECTIONS)}{advice}", line=1)


Homes = Mapping[str, list[str]]
"""For each key of a section the groups that have it, dotted, the section itself first."""


def _homes(model: type[BaseModel], name: str) -> Homes:
    """Return where each setting of a section belongs. name: the section, and then the groups in it, dotted."""
    found: dict[str, list[str]] = {key: [name] for key in model.model_fields}
    for key in model.model_fields:
        group = _group(model, key)
        for inner, places in (_homes(group, f"{name}.{key}") if group else {}).items():
            found.setdefault(inner, []).extend(places)
    return found


def _below(places: Iterable[str]) -> str:
    return "below " + " or ".join(f"{place}:" for place in places)


def _misplaced(sections: Mapping[str, Any], document: Document, known: Mapping[str, Homes]) -> Iterator[Mistake]:
    """Yield what is wrong with the file's outline: keys at the left margin, sections inside of others."""
    above = ""
    for key, section in sections.items():
        if key in SECTIONS:
            above = key if section is None else ""
            for inner in section if isinstance(section, dict) else ():
                if str(inner) in SECTIONS:
                    path = (key, str(inner))
                    yield Mistake(_INNER_SECTION.format(inner, key), dotted(path), *document.place(path))
            continue
        homes = [place for name in known for place in known[name].get(key, ())]
        if above and (above in homes or above not in known):
            homes = [above]
        if homes:
            message = f"is a setting; did you mean it {_below(homes)}, indented?"
        else:
            message = _stray(key, SECTIONS, {}, ())
        yield Mistake(message, key, *document.place((key,)))


_INNER_SECTION = "is a section of its own; begin {} at the left margin, and not below {}"


def _stray(key: str, here: list[str] | tuple[str, ...], known: Mapping[str, Homes], where: Path_) -> str:
    """Say what is wrong with a key that is not known in its place. here: those that are. where: the place."""
    foreign = foreign_indentation(key)
    if foreign is not None:
        return foreign[1]
    if key in SECTIONS and key not in here:
        return _INNER_SECTION.format(key, where[0])
    if key.startswith("//"):
        return "is no comment; a comment begins with #"
    better = rewritten(key)
    if better is not None and not _near(key, here):
        return f"is not a setting; a value follows a colon and a space: {better}"
    near = _near(key, here)
    if difflib.get_close_matches(key, here, n=1, cutoff=_MISSPELLING):  # limits.head is none: header is another setting
        return f"is not a setting; did you mean {near[0]}?"
    own = str(where[0]) if where else ""
    homes = known.get(own, {}).get(key) or [p for name in known if name != own for p in known[name].get(key, ())]
    if homes:
        return f"is not a setting of {dotted(where)}; it belongs {_below(homes)}"
    if near:
        return f"is not a setting; did you mean {near[0]}?"
    return f"is not a setting; known here: {', '.join(here)}"


_MISSPELLING = 0.85
"""How like a key of the same place a key is that is a misspelling of it, and no setting of another group."""


def _near(key: str, known: Iterable[str]) -> list[str]:
    """Return the key that was meant, if one is like it."""
    return difflib.get_close_matches(key.lower().replace("-", "_"), list(known), n=1, cutoff=0.5)


def _concerned(details: ErrorDetails, values: Any, model: type[BaseModel]) -> set[Path_]:
    """Return the settings that a mistake makes useless, counted from the section; the empty path is all of them.

    A list is useless as a whole. A key that is misspelt is, and what it was meant to be.
    """
    error = details.get("ctx", {}).get("error")
    if isinstance(error, Conflict) and not details["loc"]:
        return {(name,) for name in error.fields}
    steps: list[str | int] = []
    current = values
    for step in details["loc"]:
        if not isinstance(current, dict) or step not in current:
            break
        steps.append(step)
        current = current[step]
    found = {tuple(steps)}
    if details["type"] == "extra_forbidden":
        *parents, key = details["loc"]
        found |= {(*parents, name) for name in _near(str(key), _fields(model, parents))}
    return found


def _drop(values: Any, path: Path_) -> None:
    """Leave a setting out, if it is there."""
    for step in path[:-1]:
        values = values.get(step) if isinstance(values, dict) else None
    if isinstance(values, dict) and path:
        values.pop(path[-1], None)


def _interpolated(
    value: object, path: Path_, document: Document, env: Mapping[str, str], mistakes: list[Mistake]
) -> Any:
    """Return a copy of ``value`` with each ``${VAR}`` replaced; one without a value and a default is a mistake."""
    if isinstance(value, dict):
        return {str(k): _interpolated(v, (*path, str(k)), document, env, mistakes) for k, v in value.items()}
    if isinstance(value, list):
        return [_interpolated(v, (*path, i), document, env, mistakes) for i, v in enumerate(value)]
    if not isinstance(value, str) or "${" not in value:
        return value
    if value.count("${") > len(_VARIABLE.findall(value)):
        message = f"{_shown(value)} holds a ${{ that is no variable; write ${{NAME}}, or ${{NAME:-default}}"
        mistakes.append(Mistake(message, dotted(path), *document.place(path)))
        return value

    def replace(match: re.Match[str]) -> str:
        name, default = match["name"], match["default"]
        if env.get(name):
            return env[name]
        if default is None:
            state = "is set but empty; give it a value" if name in env else "is not set; set it"
            message = f"the environment variable {name} {state}, or give a default: ${{{name}:-value}}"
            mistakes.append(Mistake(message, dotted(path), *document.place(path)))
            return ""
        return str(default)

    return _VARIABLE.sub(replace, value)


def _message(details: ErrorDetails) -> str:
    kind, value = details["type"], details["input"]
    if kind == "missing":
        return "is missing"
    if kind == "value_error":
        return str(details["ctx"]["error"])
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        better = rewritten(value) if isinstance(value, str) else None
        advice = f"; a value follows a colon and a space: {better}" if better else ""
        return f"expected settings (key: value), got {_kind(value)}{advice}"
    if kind.endswith("_type") or kind.endswith("_parsing"):
        noun = kind.rsplit("_", 1)[0]
        advice = f"; write [{value}]" if noun == "tuple" and isinstance(value, str | int) else ""
        return f"expected {_WANTED.get(noun, 'a ' + noun)}, got {_kind(value)}{advice}"
    message = details["msg"]
    return f"{message[0].lower()}{message[1:]}, got {_shown(value)}"


def _group(model: type[BaseModel], key: str) -> type[BaseModel] | None:
    """Return the model of a setting that is a group of settings, None for one that is a value or a list."""
    annotation = model.model_fields[key].annotation
    kinds = (annotation, *get_args(annotation))
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _fields(model: type[BaseModel], parents: list[str | int]) -> list[str]:
    """Return the keys that the model allows at ``parents``."""
    current = model
    for step in parents:
        if isinstance(step, int):
            continue
        group = _group(current, step)
        if group is None:
            return []
        current = group
    return list(current.model_fields)


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
