"""Versions of what is installed: of this distribution, for both programs, and of others."""

from __future__ import annotations

import importlib.metadata
from functools import cache


@cache
def version() -> str:
    """Return the version that is installed; ``unknown`` where the programs run from a folder of sources."""
    return version_of("dash-ws-proxy") or "unknown"


def version_of(distribution: str) -> str | None:
    """Return the version of a distribution; None where it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
