"""What one reading of the config means for requests, replaced as a whole when it is read again.

An exchange keeps the rules that it began with, so that it never meets half
of the old ones and half of the new ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from proxy.access.auth_rules import AuthRules
from proxy.access.forward_auth import ForwardAuth
from proxy.config import Settings
from proxy.gateway.routing import Table, make_table
from proxy.http1.forwarded import ForwardedReader
from proxy.net.tls import Contexts
from proxy.upstream.upstream import Upstream, UpstreamOptions, make_upstreams


@dataclass(frozen=True, slots=True, eq=False)
class Runtime:
    """The settings, and what is made of them.

    upstreams: by name. ways: how each of them is dealt with, once these rules are in force. guards, auth: who is asked
    about, and how. reader: of what the browser asked.
    """

    settings: Settings
    table: Table
    upstreams: Mapping[str, Upstream]
    ways: Mapping[str, UpstreamOptions]
    guards: AuthRules
    auth: ForwardAuth
    reader: ForwardedReader

    def adapt_upstreams(self) -> None:
        """Deal with the upstreams as these rules say: the part of putting them in place that others see at once."""
        for name, upstream in self.upstreams.items():
            upstream.adapt(**self.ways[name])


def make_runtime(settings: Settings, before: Runtime | None = None, contexts: Contexts | None = None) -> Runtime:
    """Return the rules that settings mean. Raises TlsError when a file cannot be used that they name.

    Everything that can fail is done here, and nothing that is in force is changed (issue 9).
    before: those of the reading of the config before; an upstream that they
    share is one object, with what it knows, and keeps its ways until ``adapt_upstreams``.
    contexts: of this reading. None: files are read now.
    """
    table, guards = make_table(settings), AuthRules(settings.auth)
    upstreams, ways = make_upstreams(settings, before.upstreams if before else {}, contexts or Contexts())
    auth = ForwardAuth(upstreams["dash"], guards.claims, settings.timeouts)
    return Runtime(settings, table, upstreams, ways, guards, auth, ForwardedReader(settings.trusted_proxies))
