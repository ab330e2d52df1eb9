"""The text of a config file as values, and where each of them is written. It knows YAML, and no setting."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from ws_service.config.yaml_errors import Place, describe
from ws_service.errors import ConfigError, Mistake

_MAX_FILE = 1 << 20
"""Bytes. A config is a few KiB; more is a wrong path (a log, a database)."""

_MAX_NODES = 100_000
"""Values of one file, those that an alias repeats counted each time. A file of 1 MiB has fewer without aliases."""

KeyPath = tuple[str | int, ...]
"""The way to a value: keys, and numbers of list items."""

_LINE_END = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
"""What ends a line for PyYAML, whose places are counted in such lines."""

_NO_TEXT = re.compile("[\0\ud800-\udfff]")
"""What double quotes can write and no system call takes: the end of a text in C, and halves of pairs."""


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


@dataclass
class Document:
    """The values of a file, and where each key and item is written (line and column from 1).

    mistakes: keys that are written twice, and characters that no value can have.
    """

    value: object
    places: dict[KeyPath, Place] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)

    def place(self, path: KeyPath) -> Place | tuple[None, None]:
        """Return where a value is written, or what is around it."""
        around = (path[:n] for n in range(len(path), 0, -1))
        return next((self.places[at] for at in around if at in self.places), (None, None))


def read_document(path: Path) -> Document:
    """Read a file. Raises ConfigError when it cannot be read, or is not YAML."""
    return parse(_text(path), str(path))


def parse(text: str, source: str) -> Document:
    """Parse YAML. source: the file's name, for messages. Raises ConfigError."""
    lines = _LINE_END.split(text)
    try:
        loader = _Loader(text)
    except yaml.reader.ReaderError as error:
        line = len(_LINE_END.split(text[: error.position]))
        what = f"the control character U+{ord(text[error.position]):04X} is in here; remove it"
        raise ConfigError(source, [Mistake(f"is not valid YAML: {what}", line=line)]) from None
    try:
        node = loader.get_single_node()
        document = Document(None)
        if node is not None:
            _Locator(document).visit(node, ())
            document.value = loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        at, what = describe(error, lines)
        raise ConfigError(source, [Mistake(f"is not valid YAML: {what}", "", *at)]) from None
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(source, [Mistake(f"is not valid YAML: {error}")]) from None
    except _HoldsItself as error:
        message = "an alias (*...) is inside of what it stands for; write the values out"
        raise ConfigError(source, [Mistake(message, dotted(error.path), *document.place(error.path))]) from None
    except RecursionError:
        raise ConfigError(source, [Mistake("is nested too deeply")]) from None
    finally:
        loader.dispose()
    return document


def dotted(path: KeyPath) -> str:
    """Write the way to a value: ``gateway.routes[0].path``."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_FILE + 1)
    except FileNotFoundError:
        where = path.absolute().parent
        raise ConfigError(str(path), [Mistake(f"there is no such file (looked in {where})")]) from None
    except IsADirectoryError:
        advice = f"name the file in it, such as {path / 'config.yaml'}"
        raise ConfigError(str(path), [Mistake(f"is a folder; {advice}")]) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError(str(path), [Mistake(f"cannot be read: {reason}")]) from None
    if len(raw) > _MAX_FILE:
        raise ConfigError(str(path), [Mistake("is larger than 1 MiB; is this the right file?")])
    wide = _wide_encoding(raw)
    if wide is not None:
        advice = "save it as UTF-8 (PowerShell: Out-File -Encoding utf8, instead of >)"
        raise ConfigError(str(path), [Mistake(f"is {wide}; {advice}")])
    try:
        return raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(str(path), [Mistake("is not UTF-8 text; save it as UTF-8", line=line)]) from None


def _wide_encoding(raw: bytes) -> str | None:
    """Tell UTF-16 and UTF-32, by their mark or by the zeros beside ASCII; None for others."""
    if raw.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "UTF-32"
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "UTF-16"
    begin = raw[:64]
    if len(begin) >= 4 and (not any(begin[0::2]) or not any(begin[1::2])):
        return "UTF-16"
    return None


class _HoldsItself(Exception):
    def __init__(self, path: KeyPath) -> None:
        super().__init__()
        self.path = path


class _Locator:
    """Notes where each key and item is written."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._around: list[yaml.Node] = []
        self._count = 0

    def visit(self, node: yaml.Node, path: KeyPath) -> None:
        """Note everything below a node. Raises _HoldsItself, and RecursionError when there is too much."""
        self._count += 1
        if self._count > _MAX_NODES:
            raise RecursionError
        if any(node is one for one in self._around):
            raise _HoldsItself(path)
        self._around.append(node)
        places = self._document.places
        if isinstance(node, yaml.MappingNode):
            for key_node, value_node in node.value:
                here = (*path, _NO_TEXT.sub("", str(key_node.value)))
                place = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
                self._clean(key_node, here)
                if here in places:
                    message = f"is written twice; the first is on line {places[here][0]}"
                    self._document.mistakes.append(Mistake(message, dotted(here), *place))
                else:
                    places[here] = place
                self.visit(value_node, here)
        elif isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                places[(*path, index)] = (item.start_mark.line + 1, item.start_mark.column + 1)
                self.visit(item, (*path, index))
        else:
            self._clean(node, path)
        self._around.pop()

    def _clean(self, node: yaml.Node, path: KeyPath) -> None:
        """Remove from a scalar what no value can have, and note it as a mistake; the rest is checked like any other
        value."""
        found = _NO_TEXT.search(node.value) if isinstance(node, yaml.ScalarNode) else None
        if found is not None:
            node.value = _NO_TEXT.sub("", node.value)
            what = f"the escape of U+{ord(found[0]):04X} is in here, which no text can hold; remove it"
            self._document.mistakes.append(
                Mistake(what, dotted(path), node.start_mark.line + 1, node.start_mark.column + 1)
            )
