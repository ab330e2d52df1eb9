"""The version of this distribution, for both programs."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of


@cache
def version() -> str:
    """Return the version that is installed; ``unknown`` where the programs run from a folder of sources."""
    try:
        return version_of("dash-ws-proxy")
    except PackageNotFoundError:
        return "unknown"
