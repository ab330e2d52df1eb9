"""The runtime configuration: what the gateway needs of one reading of the config file, built and swapped as a whole.

An exchange keeps the one that it began with, so it never uses half of the old
one and half of the new one (docs/decisions/018-atomic-reload.md).
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, replace

from proxy.access.auth_rules import AuthRules
from proxy.access.forward_auth import ForwardAuth
from proxy.config import Settings
from proxy.dash.facts import UNKNOWN, DashFacts, idle_timeout
from proxy.gateway.routing import DASH_SOCKET_RULE, Table, Upgrade, make_table
from proxy.http1.forwarded import ForwardedReader
from proxy.net.tls_files import CertificateFile, TlsFiles
from proxy.upstream.upstream import Upstream, make_upstreams


@dataclass(frozen=True, slots=True, eq=False)
class Runtime:
    """The settings, and what is built from them.

    upstreams: by name. upstream_tls: the context for those with ``https``; None: there are none. auth_rules, auth:
    which requests need an auth request, and the client for it. reader: of forwarding headers. tls: the context of the
    public listener; None: it speaks no TLS. certificates: the files of certificates, by setting.
    dash: what is known of Dash, which is not of the file.
    """

    settings: Settings
    table: Table
    upstreams: Mapping[str, Upstream]
    upstream_tls: ssl.SSLContext | None
    auth_rules: AuthRules
    auth: ForwardAuth
    reader: ForwardedReader
    tls: ssl.SSLContext | None
    certificates: Mapping[str, CertificateFile]
    dash: DashFacts = UNKNOWN

    def with_dash(self, facts: DashFacts) -> Runtime:
        """Return the same configuration with what is known of Dash now."""
        return replace(self, dash=facts, table=make_table(self.settings, facts))

    def tunnel_idle(self, decision: Upgrade) -> float:
        """Return the seconds without a byte after which the tunnel of a handshake is closed."""
        configured = self.settings.timeouts.tunnel_idle
        is_dashs = decision.upstream == "dash" and decision.route == DASH_SOCKET_RULE
        return idle_timeout(configured, self.dash) if is_dashs else configured

    def reconfigure_upstreams(self) -> None:
        """Give the upstreams their settings; exchanges under way see this part of a reload at once."""
        for name, upstream in self.upstreams.items():
            upstream.reconfigure(self.settings.addresses_of(name), self.settings, self.upstream_tls)


def make_runtime(settings: Settings, before: Runtime | None = None, tls_files: TlsFiles | None = None) -> Runtime:
    """Build the runtime configuration of some settings. Raises TlsError when a file that they name cannot be used.

    Everything that can fail is done here, and nothing that is in force is changed (issue 9).
    before: the one in force; an upstream that keeps an address is the same object, with its health states, and keeps
    its settings until ``reconfigure_upstreams``.
    tls_files: those that the check of the settings has read, so that what was checked is what is used. None: they are
    read now.
    """
    tls_files = tls_files or TlsFiles()
    auth_rules = AuthRules(settings.auth)
    is_secure = any(one.url.startswith("https:") for one in settings.upstreams.all_addresses)
    upstream_tls = tls_files.upstream(settings.upstream_ca) if is_secure else None
    upstreams = make_upstreams(settings, before.upstreams if before else {}, upstream_tls)
    facts = before.dash if before and before.upstreams["dash"] is upstreams["dash"] else UNKNOWN
    return Runtime(
        settings,
        make_table(settings, facts),
        upstreams,
        upstream_tls,
        auth_rules,
        ForwardAuth(upstreams["dash"], auth_rules.identity_headers, settings.timeouts),
        ForwardedReader(settings.trusted_proxies),
        None if settings.tls is None else tls_files.server(settings.tls),
        tls_files.certificates(settings),
        facts,
    )
