"""The runtime configuration: what the gateway needs of one reading of the config file, built and swapped as a whole.

An exchange keeps the one that it began with, so it never uses half of the old
one and half of the new one (docs/decisions/018-atomic-reload.md).
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass

from proxy.access.auth_rules import AuthRules
from proxy.access.forward_auth import ForwardAuth
from proxy.config import Settings
from proxy.gateway.routing import Table, make_table
from proxy.http1.connection_manager import ConnectionOptions
from proxy.http1.forwarded import ForwardedReader
from proxy.http1.head_limits import HeadLimits
from proxy.net.tls_files import CertificateFile, TlsFiles
from proxy.upstream.upstream import Upstream, UpstreamOptions, make_upstreams


@dataclass(frozen=True, slots=True, eq=False)
class Runtime:
    """The settings, and what is built from them.

    upstreams: by name. upstream_options: of each of them, once this is in force. auth_rules, auth: which requests need
    an auth request, and the client for it. reader: of forwarding headers. connection_options: for clients' connections.
    tls: the context of the public listener; None: it speaks no TLS. certificates: the files of certificates, by
    setting.
    """

    settings: Settings
    table: Table
    upstreams: Mapping[str, Upstream]
    upstream_options: Mapping[str, UpstreamOptions]
    auth_rules: AuthRules
    auth: ForwardAuth
    reader: ForwardedReader
    connection_options: ConnectionOptions
    tls: ssl.SSLContext | None
    certificates: Mapping[str, CertificateFile]

    def reconfigure_upstreams(self) -> None:
        """Give the upstreams their options; exchanges under way see this part of a reload at once."""
        for name, upstream in self.upstreams.items():
            upstream.reconfigure(self.upstream_options[name])


def make_runtime(settings: Settings, before: Runtime | None = None, tls_files: TlsFiles | None = None) -> Runtime:
    """Build the runtime configuration of some settings. Raises TlsError when a file that they name cannot be used.

    Everything that can fail is done here, and nothing that is in force is changed (issue 9).
    before: the one in force; an upstream with the same address is the same object, with its health state, and keeps its
    options until ``reconfigure_upstreams``.
    tls_files: those that the check of the settings has read, so that what was checked is what is used. None: they are
    read now.
    """
    tls_files = tls_files or TlsFiles()
    auth_rules = AuthRules(settings.auth)
    upstreams, options = make_upstreams(settings, before.upstreams if before else {}, tls_files)
    return Runtime(
        settings,
        make_table(settings),
        upstreams,
        options,
        auth_rules,
        ForwardAuth(upstreams["dash"], auth_rules.identity_headers, settings.timeouts),
        ForwardedReader(settings.trusted_proxies),
        connection_options(settings),
        None if settings.tls is None else tls_files.server(settings.tls),
        tls_files.certificates(settings),
    )


def connection_options(settings: Settings) -> ConnectionOptions:
    """Return the options of clients' connections."""
    return ConnectionOptions(
        limits=HeadLimits.of(settings.limits),
        head_timeout=settings.timeouts.head,
        send_timeout=settings.timeouts.send,
        keepalive_timeout=settings.timeouts.keepalive,
        read_buffer=settings.buffer,
    )
