"""Durations and sizes: a number with its unit in ``config.yaml``, seconds and bytes in the program."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer

from ws_service.logs.formatter import shown

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


def parse_duration(value: object) -> float:
    """Read ``30s``, ``1.5s``, ``250ms``, ``5m``, ``1h`` or ``2d`` into seconds.

    Raises ValueError for anything else, also for a number without a unit, which could be seconds or milliseconds. The
    one exception is 0.
    """
    if isinstance(value, int | float) and not isinstance(value, bool) and value == 0:
        return 0.0
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{shown(value)} is not a duration; write a number with its unit: 30s, 500ms, 5m, 1h")
    seconds = Decimal(match["number"]) * _SECONDS[match["unit"]]
    if seconds > _CENTURY:
        raise ValueError(f"{shown(value)} is longer than a century")
    return float(seconds)


def parse_size(value: object) -> int:
    """Read ``64KiB``, ``1MiB``, ``2GiB`` or ``512B`` into bytes; ValueError for anything else."""
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{shown(value)} is not a size; write a number with its unit: 64KiB, 1MiB, 2GiB")
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
