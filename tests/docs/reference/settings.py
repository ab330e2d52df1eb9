"""The page about every setting, from the models that read them: types, defaults, limits, and their docstrings."""

from __future__ import annotations

import ast
import inspect
import re
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

import proxy.config
import ws_service.config.settings
from proxy import upstream_settings
from proxy.server.config_diff import NEEDS_RESTART
from tests.docs.reference.markdown import cell, prose
from ws_service.config.addresses import parse_socket_path
from ws_service.config.dash_section import DashSection
from ws_service.config.settings import parse_app, parse_ping
from ws_service.config.units import format_duration, format_size, parse_duration, parse_size

HEAD = """\
# Settings

Every setting of `config.yaml`, from the code that reads it. `dash-ws-proxy --print-config` prints the values in
force, and `check` finds mistakes ([findings](../checks.md)).

- A **duration** is written `500ms`, `30s`, `5m` or `1h`; a **size** in bytes, or `64KiB`, `1MiB`. Environment variables
  stand for values as `${NAME}` or `${NAME:-default}`.
- Default **none**: the setting is left out, or written `null`. The text says what that means.
- *restart*: the setting takes a restart. All others of `gateway` hold from the next SIGHUP on
  ([reload](../operations.md#a-reload-of-the-gateway)). In `ws_service` each change takes a restart; SIGHUP says which.
- **Danger** says what to know before you change it; **precedents** are the values of other servers.
"""

NAMED: dict[Callable[..., Any], str] = {
    parse_duration: "duration",
    parse_size: "size",
    parse_ping: "duration, `off`",
    parse_app: "`module:attribute`",
    parse_socket_path: "path, `off`",
    upstream_settings._upstream_url: "URL",
    upstream_settings._entries: "URL, or a list",
    proxy.config._path: "path",
}
"""What is written for the functions that read a value, where its type alone does not say it."""

WRITTEN: dict[Callable[..., Any], Callable[..., str]] = {parse_duration: format_duration, parse_size: format_size}
"""How values of these are written; all others are written as they are."""


SECTIONS: dict[str, type[BaseModel]] = {
    "gateway": proxy.config.Settings,
    "ws_service": ws_service.config.settings.Settings,
    "dash_app": DashSection,
}


@dataclass(frozen=True)
class Part:
    """A table of the page. path: of the section in the file. model: of its settings."""

    path: str
    model: type[BaseModel]
    defaults: dict[str, Any] | None
    """None where a value has to be written to have the section at all."""


def page() -> str:
    """Return the page."""
    blocks = [HEAD]
    for name, model in SECTIONS.items():
        blocks += map(_table, _parts(name, model, model().model_dump(mode="json")))
    return "\n".join(blocks)


_HEADER = "| Setting | Default | Takes | What it is |\n|---|---|---|---|"


def _parts(path: str, model: type[BaseModel], defaults: dict[str, Any] | None) -> Iterator[Part]:
    yield Part(path, model, defaults)
    seen: set[type[BaseModel]] = set()
    for name, field in model.model_fields.items():
        inner = _section_of(field.annotation)
        if inner is None or inner in seen:  # the namespaces have the settings of the default
            continue
        seen.add(inner)
        given = (defaults or {}).get(name)
        if get_origin(field.annotation) is tuple:
            several = sum(_section_of(each.annotation) is inner for each in model.model_fields.values()) > 1
            yield from _parts(f"{path}.{'*' if several else name}[]", inner, None)
        else:
            yield from _parts(f"{path}.{name}", inner, given if isinstance(given, dict) else None)


def _section_of(annotation: Any) -> type[BaseModel] | None:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for each in get_args(annotation) if (found := _section_of(each)) is not None), None)


def _table(part: Part) -> str:
    texts = attribute_texts(part.model)
    rows = []
    for name, field in part.model.model_fields.items():
        inner = _section_of(field.annotation)
        about = texts.get(name, "")
        if inner is not None and not about:
            about = inspect.cleandoc(inner.__doc__ or "").partition("\n\n")[0]
        takes = _kind(field.annotation, field.metadata)
        if part.path == "gateway" and name in NEEDS_RESTART:
            takes += "; *restart*"
        rows.append(f"| `{name}` | {_default(part, name, field)} | {takes} | {cell(about)} |")
    level = "##" if "." not in part.path else "###"
    about = prose(inspect.cleandoc(part.model.__doc__ or ""))
    return f"{level} `{part.path}`\n\n{about}\n\n{_HEADER}\n" + "\n".join(rows) + "\n"


def _default(part: Part, name: str, field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    value = (part.defaults or {}).get(name, ...)
    if value is ...:
        value = _written(field.metadata)(field.get_default(call_default_factory=True))
    if isinstance(value, dict) and value:
        return ""  # a section with defaults of its own
    if value is None or value in ((), [], {}):
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return ", ".join(f"`{each:g}`" if isinstance(each, float) else f"`{each}`" for each in _several(value))


def _several(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else [value]


def _kind(annotation: Any, metadata: list[Any]) -> str:
    """Return what can be written, as a reader says it."""
    metadata = [each for one in metadata for each in (one.metadata if isinstance(one, FieldInfo) else [one])]
    for each in metadata:
        function = getattr(each, "func", None)
        if function in NAMED:
            return NAMED[function] + _range(metadata)
        if "listen_like" in getattr(function, "__qualname__", ""):
            return "address"
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *more = get_args(annotation)
        return _kind(inner, [*more, *metadata])
    if origin in (Union, types.UnionType):
        kinds = [_kind(each, metadata) for each in get_args(annotation) if each is not type(None)]
        return ", ".join([*kinds, "`null`"])
    if origin is Literal:
        return ", ".join(f"`{each}`" for each in get_args(annotation))
    if origin is tuple:
        return "list"
    if _section_of(annotation) is not None:
        return "section"
    return {bool: "`true`, `false`", int: "number", float: "number"}.get(annotation, "text") + _range(metadata)


def _range(metadata: list[Any]) -> str:
    written = _written(metadata)

    def bound(name: str) -> str | None:
        return next((written(getattr(each, name)) for each in metadata if hasattr(each, name)), None)

    least, above, most = bound("ge"), bound("gt"), bound("le")
    first = f"from {least}" if least is not None else f"above {above}" if above is not None else ""
    return (
        " ".join(filter(None, [",", first, f"to {most}" if most is not None else ""])).replace(" ,", ",")
        if first
        else ""
    )


def _written(metadata: list[Any]) -> Callable[[Any], Any]:
    return next(
        (WRITTEN[each.func] for each in metadata if getattr(each, "func", None) in WRITTEN), lambda value: value
    )


def attribute_texts(model: type) -> dict[str, str]:
    """Return the docstrings of a class's attributes: the texts that follow them in the source."""
    [tree] = ast.parse(inspect.cleandoc("\n" + inspect.getsource(model))).body
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for field, text in zip(tree.body, tree.body[1:], strict=False):
        is_text = (
            isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str)
        )
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and is_text:
            found[field.target.id] = re.sub(r"\s+", " ", text.value.value)  # type: ignore[attr-defined]
    return found
