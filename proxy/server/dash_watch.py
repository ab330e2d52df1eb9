"""What is known of Dash, put in force and logged: the reader's facts become part of the runtime configuration."""

from __future__ import annotations

import logging

from proxy.config import AUTO, Settings, is_path_prefix
from proxy.dash.facts import DASH_SOCKET, DashFacts, summary, warnings
from proxy.dash.reader import DashReader, NotRead, ask
from proxy.errors import ProxyError, TlsError
from proxy.exchange.record import Exchange
from proxy.gateway.handler import Gateway
from proxy.gateway.runtime import Runtime
from proxy.net.tls_files import TlsFiles
from proxy.upstream.upstream import Upstream

logger = logging.getLogger("proxy")

_LAYOUT = "/_dash-layout"
"""Each page of each Dash asks for it, below its prefix."""


class DashWatch:
    """Has Dash asked while the gateway runs. gateway: its runtime configuration gets what is known."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        runtime = gateway.runtime
        self._reader = DashReader(runtime.upstreams["dash"], runtime.settings, self._changed)
        self._is_looking = self._reader.is_looking  # here: it is read at the end of each request
        self._logged: list[str] = []

    def start(self) -> None:
        """Ask Dash when it can be reached, and again when it comes back."""
        self._reader.start()

    def reconfigure(self, runtime: Runtime) -> None:
        """Ask again, by the configuration that is in force now."""
        self._reader.reconfigure(runtime.upstreams["dash"], runtime.settings)
        self._is_looking = self._reader.is_looking

    def close(self) -> None:
        """Ask no more."""
        self._reader.close()

    async def closed(self) -> None:
        """Wait until nothing of it runs any more, after ``close``."""
        await self._reader.closed()

    def exchange_ended(self, exchange: Exchange) -> None:
        """Learn from a page that a client has opened where Dash is, while that is not known.

        A client says no more by it than where Dash may be asked.
        """
        if not self._is_looking or _LAYOUT not in exchange.target:
            return
        path = exchange.target.partition("?")[0]
        prefix = path.removesuffix(_LAYOUT[1:])
        if exchange.status == 200 and exchange.upstream == "dash" and path.endswith(_LAYOUT) and is_path_prefix(prefix):
            self._reader.look_at(prefix)

    def _changed(self, facts: DashFacts) -> None:
        self._is_looking = self._reader.is_looking
        runtime = self._gateway.runtime.with_dash(facts)
        self._gateway.reconfigure(runtime)
        settings = runtime.settings
        if facts.is_asked and not runtime.upstreams["dash"].health.is_unreachable:
            about = settings.dash_prefix, settings.timeouts.tunnel_idle
            self._log(summary(facts, *about), warnings(facts, *about))

    def _log(self, line: str, warned: list[str]) -> None:
        """Log what differs from what was logged last: a restart of the same Dash is no news."""
        if [line, *warned] == self._logged:
            return
        self._logged = [line, *warned]
        logger.info("%s", line)
        for warning in warned:
            logger.warning("%s", warning)


async def ask_once(settings: Settings, target: str) -> DashFacts:
    """Return what Dash says now, to a command that runs no gateway.

    target: of a request for Dash's own WebSocket: its page may be beside that.
    """
    addresses = settings.addresses_of("dash")
    first = "/" if settings.dash_prefix == AUTO else settings.dash_prefix
    beside = target.partition("?")[0].removesuffix(DASH_SOCKET)
    try:
        is_secure = any(where.url.startswith("https:") for where in addresses)
        context = TlsFiles().upstream(settings.upstream_ca) if is_secure else None
        upstream = Upstream("dash", addresses, settings, context)
        try:
            return await ask(upstream, first)
        except NotRead:
            if beside == first or not is_path_prefix(beside):
                raise
            return await ask(upstream, beside)
    except NotRead as error:
        return DashFacts(why=str(error))
    except ProxyError as error:
        return DashFacts(why=error.message)
    except (TimeoutError, TlsError) as error:
        return DashFacts(why=str(error) or "it did not answer in time")
