"""The data of a publication as JSON: what Plotly's encoder accepts, or an error that names the key.

JSON has no NaN and no Infinity (RFC 8259 section 6), and browsers refuse them; they become null, as in Dash's own
responses.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

_strictly = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode

_DEEPEST = 200
"""Levels that are searched for what cannot be encoded."""


def encode(data: Any) -> bytes:
    """Return data as compact JSON.

    data: what ``json`` accepts; and with Plotly installed what its encoder accepts beyond that: numpy, pandas, dates,
    Decimal, figures, Dash components. Plotly is imported only for data that needs it.

    Raises TypeError or ValueError that names the key of what cannot be encoded.
    """
    try:
        return _strictly(data).encode()
    except (TypeError, ValueError, RecursionError):
        pass
    try:
        return _without_nan(data)
    except (TypeError, ValueError, RecursionError):
        return _by_plotly(data)


def _without_nan(data: Any) -> bytes:
    return _strictly(json.loads(json.dumps(data), parse_constant=lambda _: None)).encode()


def _by_plotly(data: Any) -> bytes:
    to_json = _plotly()
    try:
        if to_json is not None:
            text = to_json(data)
            # Plotly escapes what is not ASCII, half a surrogate pair too, of which the hub could make no UTF-8.
            return _strictly(json.loads(text)).encode() if r"\ud" in text else text.encode()
    except Exception as error:  # of any class: encoders call methods of the data
        raise _refusal(data, to_json) or TypeError(f"the data cannot be encoded as JSON: {error}") from error
    raise _refusal(data, None) or TypeError("the data cannot be encoded as JSON")


def _plotly() -> Callable[[Any], str] | None:
    """Return Plotly's function; None where Plotly is not installed."""
    try:
        from plotly.io.json import to_json_plotly  # here: it takes 65 ms, and most data does not need it
    except ImportError:
        return None
    return to_json_plotly  # type: ignore[no-any-return]


def _refusal(data: Any, to_json: Callable[[Any], str] | None) -> Exception | None:
    """Return the error about the first part of the data that cannot be encoded; None when none is found."""
    return next(_refusals(data, "data", to_json or _strictly, to_json is not None, ()), None)


def _refusals(
    value: Any, place: str, encoder: Callable[[Any], str], is_plotly: bool, parents: tuple[int, ...]
) -> Iterator[Exception]:
    if id(value) in parents:
        yield ValueError(f"{place} contains itself; JSON has no references")
    elif len(parents) >= _DEEPEST:
        yield ValueError(f"the data is nested deeper than {_DEEPEST} levels")
    elif isinstance(value, dict):
        for key, part in value.items():
            if not isinstance(key, str | int | float | bool | None):
                yield TypeError(f"{place} has the key {key!r}, {_kind(key)}; keys of JSON are text: use str(key)")
            yield from _refusals(part, f"{place}[{key!r}]", encoder, is_plotly, (*parents, id(value)))
    elif isinstance(value, list | tuple):
        for index, part in enumerate(value):
            yield from _refusals(part, f"{place}[{index}]", encoder, is_plotly, (*parents, id(value)))
    else:
        yield from _refusal_of_leaf(value, place, encoder, is_plotly)


def _refusal_of_leaf(value: Any, place: str, encoder: Callable[[Any], str], is_plotly: bool) -> Iterator[Exception]:
    if isinstance(value, float):
        return  # NaN becomes null
    try:
        value.encode() if isinstance(value, str) else encoder(value)
    except UnicodeEncodeError:
        yield ValueError(f"{place} is no text that UTF-8 can encode: it has half of a surrogate pair")
    except Exception:  # of any class, as above
        hint = "" if is_plotly else ", or install plotly, which encodes dates, Decimal, numpy and pandas"
        yield TypeError(f"{place} is {_kind(value)}, which JSON does not have; convert it first{hint}")


def _kind(value: Any) -> str:
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return f"a {name}"
