"""What one reading of the config means for requests, replaced as a whole when it is read again.

An exchange keeps the rules that it began with, so that it never meets half
of the old ones and half of the new ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from proxy.config import Settings
from proxy.routing import Table
from proxy.upstream import Upstream, make_upstreams


@dataclass(frozen=True, slots=True, eq=False)
class Rules:
    """The settings, and what is made of them.

    upstreams: by name.
    """

    settings: Settings
    table: Table
    upstreams: Mapping[str, Upstream]


def make_rules(settings: Settings) -> Rules:
    """Return the rules that settings mean. Raises TlsError when a file cannot be used that they name."""
    return Rules(settings, Table(settings.routes), make_upstreams(settings))
