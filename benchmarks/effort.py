"""How long a measurement takes, and what it returns."""

from __future__ import annotations

from dataclasses import dataclass

Figures = dict[str, float]
"""A figure's name ends in its unit: ``_us`` microseconds, ``_kib``, ``_mib``, ``_per_s``, ``_s``, ``_percent``."""


@dataclass(frozen=True)
class Effort:
    """How long a measurement takes: seconds that are not counted, and seconds that are."""

    warm_up: float
    window: float


FULL = Effort(warm_up=0.25, window=1.0)
SHORT = Effort(warm_up=0.15, window=0.4)
