"""Faults of Dash that are known, by its version.

Tried with each version (docs/checks.md): 4.1.0rc0, 4.2.0, 4.4.1 and 4.5.0rc2.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_VERSION = re.compile(r"(\d{1,4})\.(\d{1,4})\.(\d{1,4})(?:(a|b|rc)(\d{1,4}))?")

_FINAL = 1 << 16
"""The place of a release among its candidates: the last."""


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """A version of Dash, in the order of releases. candidate: of the release; the release itself is after all."""

    release: tuple[int, int, int]
    candidate: int = _FINAL

    @property
    def is_final(self) -> bool:
        """Whether it is a release, and no candidate."""
        return self.candidate == _FINAL


def parse_version(text: str | None) -> Version | None:
    """Read what a page says; None for what is no version. Alphas and betas count as candidate 0."""
    match = _VERSION.match(text or "")
    if match is None:
        return None
    major, minor, patch, kind, number = match.groups()
    candidate = _FINAL if kind is None else int(number) if kind == "rc" else 0
    return Version((int(major), int(minor), int(patch)), candidate)


def swallows_websockets(version: Version | None) -> bool:
    """Tell whether its middleware fails on every WebSocket with status 500 (plotly/dash#3636): candidates of 4.1.0."""
    return version is not None and version.release == (4, 1, 0) and not version.is_final


def has_socket_at_wrong_path(version: Version | None) -> bool:
    """Tell whether its WebSocket is below ``requests_pathname_prefix`` in place of ``routes_pathname_prefix``
    (plotly/dash#3813): 4.2.
    """
    return version is not None and version.release[:2] == (4, 2)


def opens_socket_on_each_page(version: Version | None) -> bool:
    """Tell whether each page opens a WebSocket, used or not (plotly/dash#3939): from 4.2 to before 4.5."""
    return version is not None and (4, 2) <= version.release[:2] < (4, 5)
