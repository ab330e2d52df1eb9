"""The addresses of the gateway: the public one, and that of the admin listener."""

from __future__ import annotations

from typing import Any

from proxy.config import Settings
from proxy.errors import ListenError
from proxy.listener.bind import ADMIN, PUBLIC, bind, public_host
from proxy.listener.passed_sockets import PassedSockets
from ws_service.config.addresses import OFF
from ws_service.net.listening import Bound


class Listeners:
    """What the gateway listens on. admin: None where there is no admin listener."""

    def __init__(self, public: Bound, admin: Bound | None) -> None:
        self.public = public
        self.admin = admin

    def close(self) -> None:
        """Close all sockets. Safe to call twice. Those of systemd go on listening, and are the next process's."""
        self.public.close()
        if self.admin is not None:
            self.admin.close()

    def public_urls(self, *, is_tls: bool) -> list[str]:
        """Return where clients connect: a URL for each address, or the path of a unix socket."""
        return _urls("https" if is_tls else "http", self.public)

    def admin_urls(self) -> list[str]:
        """Return where the admin listener is asked; nothing where there is none."""
        return [] if self.admin is None else _urls("http", self.admin)


async def open_listeners(settings: Settings, passed: PassedSockets) -> Listeners:
    """Listen on the addresses of the settings. passed: what systemd has passed.

    Raises ListenError, with nothing left open.
    """
    public = await bind(settings.listen, PUBLIC, passed, reuse_port=settings.reuse_port)
    listeners = Listeners(public, None)
    try:
        if settings.admin != OFF:
            listeners.admin = await _bind_admin(settings, passed)
    except BaseException:
        listeners.close()
        raise
    return listeners


async def _bind_admin(settings: Settings, passed: PassedSockets) -> Bound:
    try:
        bound = await bind(settings.admin, ADMIN, passed)
    except ListenError as error:
        if settings.reuse_port:
            raise ListenError(f"{error}; gateways that share a port need one each, such as 127.0.0.1:0") from error
        raise
    try:
        _check_admin(bound, settings)
    except BaseException:
        bound.close()
        raise
    return bound


def _check_admin(bound: Bound, settings: Settings) -> None:
    """Refuse a socket of systemd that other hosts reach; other addresses are checked before the start."""
    if bound.is_passed and not settings.admin_public and (host := public_host(bound)):
        raise ListenError(
            f"{ADMIN} is a socket that systemd has passed, and it can be reached from other hosts ({host}); write a "
            "loopback address in the socket unit, or set admin_public: true if that is meant"
        )


def _urls(scheme: str, bound: Bound) -> list[str]:
    names = [sock.getsockname() for sock in bound.sockets]
    return [_url(scheme, name) if isinstance(name, tuple) else f"unix:{_text(name)}" for name in names]


def _url(scheme: str, name: tuple[Any, ...]) -> str:
    host, port = name[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _text(name: str | bytes) -> str:
    """Return the name of a unix socket; abstract ones are bytes that begin with a zero byte, which is written as @."""
    return name if isinstance(name, str) else name.replace(b"\0", b"@", 1).decode(errors="replace")
