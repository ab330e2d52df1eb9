"""What is wrong with the keys and values of a config file, in a sentence that says what to write instead.

It knows pydantic's errors and the models that it is given, and no setting.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args, get_origin, get_type_hints

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from ws_service.config.sections import SECTIONS
from ws_service.config.yaml_errors import foreign_indentation, rewritten
from ws_service.config.yaml_text import Document, KeyPath, dotted
from ws_service.errors import Mistake
from ws_service.logs.formatter import shown

_WANTED = {
    "string": "text",
    "int": "a whole number",
    "bool": "true or false",
    "float": "a number",
    "tuple": "a list",
}
"""pydantic's names of types, in words for the operator."""

_INNER_SECTION = "is a section of its own; begin {} at the left margin, and not below {}"

_MISSPELLING = 0.85
"""The similarity from which a key is a misspelling of another one of its own group, and no setting of another group."""

Homes = Mapping[str, list[str]]
"""For each key of a section the groups that have it, dotted, the section itself first."""


class Conflict(ValueError):
    """Settings of one section that are well-formed and do not go together; for a model's own validators.

    message: a sentence for the operator. fields: which settings, by name.
    """

    def __init__(self, message: str, *fields: str) -> None:
        super().__init__(message)
        self.fields = fields


def homes(model: type[BaseModel], name: str) -> Homes:
    """Return where each setting of a section belongs. name: the section, and then the groups in it, dotted."""
    found: dict[str, list[str]] = {key: [name] for key in model.model_fields}
    for key in model.model_fields:
        group = _group(model, key)
        inside = f"{name}.{key}.<name>" if _is_mapping(model, key) else f"{name}.{key}"
        for inner, places in (homes(group, inside) if group else {}).items():
            found.setdefault(inner, []).extend(places)
    return found


def no_sections(value: object) -> Mistake:
    """Return what is wrong with a file that holds something else than sections."""
    if value is None:
        return Mistake("is empty; write a section: " + ", ".join(SECTIONS))
    return Mistake(f"holds {_kind(value)}; expected sections: {', '.join(SECTIONS)}{_colon_advice(value)}", line=1)


def misplaced(sections: Mapping[str, Any], document: Document, known: Mapping[str, Homes]) -> Iterator[Mistake]:
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
        places = [place for name in known for place in known[name].get(key, ())]
        if above and (above in places or above not in known):
            places = [above]
        if places:
            message = f"is a setting; did you mean it {_below(places)}, indented?"
        else:
            message = unknown_key(key, SECTIONS, {}, ())
        yield Mistake(message, key, *document.place((key,)))


def unknown_key(
    key: str, here: list[str] | tuple[str, ...], known: Mapping[str, Homes], where: KeyPath, rule: str = ""
) -> str:
    """Return what is wrong with a key that is not known in its place.

    here: the keys that are. known: where the settings of each section belong. where: the place. rule: what other keys
    may be there; empty: none.
    """
    foreign = foreign_indentation(key)
    if foreign is not None:
        return foreign[1]
    if key in SECTIONS and key not in here:
        return _INNER_SECTION.format(key, where[0])
    if key.startswith("//"):
        return "is no comment; a comment begins with #"
    near = _near(key, here)
    better = rewritten(key)
    if better is not None and not near:
        return f"is not a setting; a value follows a colon and a space: {better}"
    is_misspelt = difflib.get_close_matches(key, here, n=1, cutoff=_MISSPELLING)
    if not is_misspelt:  # limits.head is none: header is another setting
        own = str(where[0]) if where else ""
        places = known.get(own, {}).get(key) or [p for name in known if name != own for p in known[name].get(key, ())]
        if places:
            return f"is not a setting of {dotted(where)}; it belongs {_below(places)}"
    if near:
        return f"is not a setting; did you mean {near[0]}?"
    return f"is not a setting; {rule or 'known here: ' + ', '.join(here)}"


def wrong_value(details: ErrorDetails) -> str:
    """Return what is wrong with a value, by pydantic's error."""
    kind, value = details["type"], details["input"]
    if kind == "missing":
        return "is missing"
    if kind == "value_error":
        return str(details["ctx"]["error"])
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return f"expected settings (key: value), got {_kind(value)}{_colon_advice(value)}"
    if kind.endswith("_type") or kind.endswith("_parsing"):
        noun = kind.rsplit("_", 1)[0]
        advice = f"; write [{value}]" if noun == "tuple" and isinstance(value, str | int) else ""
        return f"expected {_WANTED.get(noun, 'a ' + noun)}, got {_kind(value)}{advice}"
    message = details["msg"]
    return f"{message[0].lower()}{message[1:]}, got {shown(value)}"


def concerned(details: ErrorDetails, values: Any, model: type[BaseModel]) -> set[KeyPath]:
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
        found |= {(*parents, name) for name in _near(str(key), fields(model, parents))}
    return found


def fields(model: type[BaseModel], parents: Iterable[str | int]) -> list[str]:
    """Return the keys that the model allows at ``parents``."""
    current, is_name = model, False
    for step in parents:
        if isinstance(step, int):
            continue
        if is_name:  # the operator's own key, in a mapping of groups
            is_name = False
            continue
        group = _group(current, step)
        if group is None:
            return []
        is_name = _is_mapping(current, step)
        current = group
    return list(current.model_fields)


def _group(model: type[BaseModel], key: str) -> type[BaseModel] | None:
    """Return the model of a setting that is a group of settings, None for one that is a value or a list."""
    annotation = _annotation(model, key)
    kinds = (annotation, *get_args(annotation))
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _is_mapping(model: type[BaseModel], key: str) -> bool:
    """Tell whether a setting has groups by names that the operator chooses."""
    return get_origin(_annotation(model, key)) in (dict, Mapping)


def _annotation(model: type[BaseModel], key: str) -> Any:
    """Return the type of a setting, of one with the operator's own name too."""
    if key in model.model_fields:
        return model.model_fields[key].annotation
    return get_args(get_type_hints(model)["__pydantic_extra__"])[1]


def _near(key: str, known: Iterable[str]) -> list[str]:
    """Return the key that was meant, if one is like it."""
    return difflib.get_close_matches(key.lower().replace("-", "_"), list(known), n=1, cutoff=0.5)


def _below(places: Iterable[str]) -> str:
    return "below " + " or ".join(f"{place}:" for place in places)


def _colon_advice(value: object) -> str:
    better = rewritten(value) if isinstance(value, str) else None
    return f"; a value follows a colon and a space: {better}" if better else ""


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
    return f"the text {shown(value)}"
