"""The language of ``config.yaml``: one file, a section for each program, every mistake with its line.

This module knows which file is meant, how a section becomes its model, and ``${VAR}``. It does not know a single
setting: those are pydantic models in the ``config`` module of each program.

The gateway imports it too (docs/decisions/001-one-reader-for-config.md).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from ws_service.config.mistakes import concerned, fields, homes, misplaced, no_sections, unknown_key, wrong_value
from ws_service.config.yaml_text import Document, KeyPath, dotted, read_document
from ws_service.errors import ConfigError, Mistake
from ws_service.logs.formatter import shown

DEFAULT_FILE = Path("config.yaml")
"""The file that is read when none is named, in the working directory."""

CONFIG_VARIABLE = "DASH_WS_PROXY_CONFIG"
"""The environment variable that names the config file where ``--config`` does not, for every program and for what only
imports ``ws_service``: programs of one environment are to agree on the file, because the hub's key is beside it."""

_VARIABLE = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}")

M = TypeVar("M", bound="Section")
Objection = tuple[KeyPath, str]
"""The way to a setting from its section, and what is wrong with it."""


class Section(BaseModel):
    """What every section is: frozen, and strict about unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def find(path: Path | None, env: Mapping[str, str] = os.environ) -> tuple[Path | None, str | None]:
    """Return the config file to read, None for every default; and the sentence that says which, where ``--config`` does
    not.

    path: what ``--config`` says. None: what ``CONFIG_VARIABLE`` names, else ``config.yaml`` of the working directory,
    if there is one.
    """
    if path is not None:
        return path, None
    if named := env.get(CONFIG_VARIABLE):
        return Path(named), f"using {named}, which {CONFIG_VARIABLE} names"
    here = Path.cwd()
    if os.path.lexists(DEFAULT_FILE):  # a link that leads nowhere too: it is a mistake, and no reason for defaults
        return DEFAULT_FILE, f"using {DEFAULT_FILE} in {here}"
    other = next((name for name in ("config.yml", "config.yaml.txt") if os.path.lexists(name)), None)
    hint = f" (there is a {other}: rename it, or name it with --config)" if other else ""
    return None, f"there is no {DEFAULT_FILE} in {here}; running on the defaults{hint}"


def folder_of(path: Path | None) -> Path:
    """Return the folder from which paths of a config file start: the working directory where there is no file."""
    return Path.cwd() if path is None else path.absolute().parent


@dataclass
class Reading(Generic[M]):
    """What one section says.

    settings: with the default in the place of each setting that is wrong; None when not even that can be had.
    mistakes: all that are in the section. wrong: where, counted from the section.
    """

    settings: M | None
    mistakes: list[Mistake]
    wrong: set[KeyPath] = field(default_factory=set)

    def concerns(self, path: KeyPath) -> bool:
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
        self.folder = folder_of(path)
        self._known = {name: homes(model, name) for name, model in known.items()}
        self._document = read_document(path)
        self.mistakes = list(self._document.mistakes)
        value = self._document.value
        if not isinstance(value, dict):
            raise ConfigError(self.source, [no_sections(value)])
        self._sections = {str(name): section for name, section in value.items()}
        self.mistakes += misplaced(self._sections, self._document, self._known)

    def has(self, name: str) -> bool:
        """Tell whether a section is written, be it empty."""
        return name in self._sections

    def values(self, name: str, env: Mapping[str, str]) -> dict[str, Any]:
        """Return what a section says with its variables replaced, unchecked; what is no section is an empty one."""
        found = _interpolated(self._sections.get(name), (name,), self._document, env, [])
        return found if isinstance(found, dict) else {}

    def section(self, name: str, model: type[M], env: Mapping[str, str]) -> Reading[M]:
        """Read one section; every mistake in it is found at once.

        A setting that is wrong is left out and the rest is read again: rules between settings are checked only when
        each of them is well-formed.
        """
        reading: Reading[M] = Reading(None, [])
        section = self._sections.get(name)
        values = _interpolated({} if section is None else section, (name,), self._document, env, reading.mistakes)
        unset = {mistake.key for mistake in reading.mistakes}
        wrong = {path[1:] for path in self._document.places if dotted(path) in unset} if unset else set()
        while True:
            for path in wrong:
                _drop(values, path)
            reading.wrong |= wrong
            try:
                reading.settings = model.model_validate(values)
                return reading
            except ValidationError as error:
                wrong = self._note(error, reading, values, name, model)
            if () in wrong or wrong <= reading.wrong:
                return reading

    def _note(
        self, error: ValidationError, reading: Reading[M], values: Any, name: str, model: type[M]
    ) -> set[KeyPath]:
        """Note the mistakes of a section that are not known yet; return the settings that they make useless."""
        wrong: set[KeyPath] = set()
        for details in error.errors():
            paths = concerned(details, values, model)
            mistake = self._mistake(details, name, model, paths)
            told = paths if not details["loc"] else {tuple(details["loc"])}
            if not any(reading.concerns(path) for path in told) and mistake not in self.mistakes:
                reading.mistakes.append(mistake)
            wrong |= paths
        return wrong

    def objection(self, path: KeyPath, message: str) -> Mistake:
        """Return what is wrong with a setting, with its place. path: begins with its section."""
        return Mistake(message, dotted(path), *self._document.place(path))

    def objections(self, name: str, reading: Reading[Any], found: Iterable[Objection]) -> list[Mistake]:
        """Return objections to a section's settings with their place, but for settings that are wrong already."""
        return [self.objection((name, *keys), message) for keys, message in found if not reading.concerns(keys)]

    def error(self, mistakes: Iterable[Mistake]) -> ConfigError:
        """Return the error that tells mistakes; a key that was misplaced is told once."""
        return ConfigError(self.source, list({(m.key, m.message): m for m in mistakes}.values()))

    def _mistake(self, details: ErrorDetails, name: str, model: type[BaseModel], paths: set[KeyPath]) -> Mistake:
        loc: KeyPath = tuple(details["loc"])
        if details["type"] == "extra_forbidden":
            key, parents = str(loc[-1]), loc[:-1]
            rule = str(details.get("ctx", {}).get("rule", ""))
            message = unknown_key(key, fields(model, parents), self._known, (name, *parents), rule)
        else:
            message = wrong_value(details)
        path: KeyPath = (name, *loc)
        places = self._document.places
        while path not in places and len(path) > 1 and details["type"] != "missing":
            path = path[:-1]  # pydantic adds steps of its own, for the branches of a union
        at = self._document.place(path)
        if not loc and paths:  # settings that do not go together: where one of them is written
            written = [places[(name, *one)] for one in paths if (name, *one) in places]
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
        mistakes += file.objections(name, reading, check(reading.settings))
    if mistakes or reading.settings is None:
        raise file.error(mistakes)
    return reading.settings


def dump(name: str, section: Section) -> str:
    """Write a section as the YAML that would give it back: every setting with its value."""
    return yaml.safe_dump({name: section.model_dump(mode="json")}, sort_keys=False, width=110)


def _drop(values: Any, path: KeyPath) -> None:
    """Leave a setting out, if it is there."""
    for step in path[:-1]:
        values = values.get(step) if isinstance(values, dict) else None
    if isinstance(values, dict) and path:
        values.pop(path[-1], None)


def _interpolated(
    value: object, path: KeyPath, document: Document, env: Mapping[str, str], mistakes: list[Mistake]
) -> Any:
    """Return a copy of ``value`` with each ``${VAR}`` replaced; one without a value and a default is a mistake."""
    if isinstance(value, dict):
        return {str(k): _interpolated(v, (*path, str(k)), document, env, mistakes) for k, v in value.items()}
    if isinstance(value, list):
        return [_interpolated(v, (*path, i), document, env, mistakes) for i, v in enumerate(value)]
    if not isinstance(value, str) or "${" not in value:
        return value
    if value.count("${") > len(_VARIABLE.findall(value)):
        message = f"{shown(value)} holds a ${{ that is no variable; write ${{NAME}}, or ${{NAME:-default}}"
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
