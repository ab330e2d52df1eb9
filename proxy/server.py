"""Starting and stopping: what is built, in which order it begins, and in which order it ends."""

from __future__ import annotations

import asyncio
import errno
import logging
import resource
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, BinaryIO, cast

from aiohttp import web

from proxy.access_log import LINES, AccessLog
from proxy.admin import admin_app
from proxy.config import Settings, split_listen
from proxy.errors import ListenError
from proxy.exchange import Exchange
from proxy.gateway import Gateway, Observer
from proxy.hijack import HAS_C_PARSER, Listener
from proxy.lifecycle import Lifecycle
from proxy.rules import make_rules

logger = logging.getLogger("proxy")

_RESTARTING = 1012
"""Close code: "the service is restarting, come back". Browsers' clients reconnect after it."""

_BACKLOG = 2048
"""Connections that wait to be accepted; the kernel caps it (somaxconn). Precedents: nginx 511, uvicorn 2048."""


class Server:
    """The gateway as a process: two listeners, the exchanges in flight, and the end of both.

    folder: of the config file; the working directory where there is none.
    """

    def __init__(self, settings: Settings, observe: Observer, folder: Path = Path()) -> None:
        self._settings = settings
        self._empty = asyncio.Event()
        self._lifecycle: Lifecycle[Exchange] = Lifecycle(self._empty.set)
        self._rules = make_rules(settings)
        self._gateway = Gateway(self._rules, self._lifecycle, observe, folder)
        self._listener = Listener(
            self._gateway.handle,
            on_plain=self._gateway.offer_plain,
            on_unreadable=self._gateway.refuse_unreadable,
            head_timeout=settings.timeouts.head,
            keepalive_timeout=settings.timeouts.keepalive,
            read_buffer=settings.buffer,
        )
        self._public: asyncio.Server | None = None
        self._admin: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen. Raises ListenError, with nothing left open, when an address cannot be had."""
        loop = asyncio.get_running_loop()
        address = split_listen(self._settings.listen)

        async def listen() -> asyncio.Server:
            if isinstance(address, str):
                return await loop.create_unix_server(self._listener, address, backlog=_BACKLOG)
            return await loop.create_server(self._listener, *address, backlog=_BACKLOG)

        # Before the first client: one that came earlier would go through the tunnel, and end with this process.
        await self._gateway.handoff.start()
        try:
            self._public = await _claim(listen, self._settings.listen, "gateway.listen")
        except ListenError:
            self._gateway.handoff.close()
            raise
        self._admin = web.AppRunner(
            admin_app(self._lifecycle, self._rules.upstreams), access_log=None, handle_signals=False
        )
        await self._admin.setup()
        admin = split_listen(self._settings.admin)
        site = web.UnixSite(self._admin, admin) if isinstance(admin, str) else web.TCPSite(self._admin, *admin)
        try:
            await _claim(site.start, self._settings.admin, "gateway.admin")
        except ListenError:
            self._public.close()
            self._gateway.handoff.close()
            await self._admin.cleanup()
            raise
        for upstream in self._rules.upstreams.values():
            upstream.start()
        self._lifecycle.happen("listening")

    async def stop(self) -> None:
        """End everything, in this order, within ``timeouts.drain`` seconds.

        1. not ready: ``/readyz`` says 503, so that balancers look elsewhere;
        2. the public listener and its idle connections close;
        3. tunnels say 1012, requests finish; those that wait for an upstream to come back are told 503, because the
           next gateway may wait longer than this one;
        4. at the deadline, whatever is left is cut; sockets that were handed over are the service's, and live on.

        Cancelling it skips to the fourth step.
        """
        self._lifecycle.happen("stop")
        assert self._public is not None and self._admin is not None
        self._public.close()
        self._listener.pre_shutdown()
        for upstream in self._rules.upstreams.values():
            upstream.room.close()
        self._gateway.say_goodbye(_RESTARTING)
        event = "empty"
        try:
            async with asyncio.timeout(self._settings.timeouts.drain):
                if self._lifecycle.in_flight:
                    await self._empty.wait()
        except TimeoutError:
            event = "deadline"
            logger.warning("cutting %d exchanges that did not end in time", len(self._lifecycle.in_flight))
        finally:
            self._gateway.abort_tunnels()
            await self._listener.shutdown(0.1)
            self._gateway.handoff.close()
            for upstream in self._rules.upstreams.values():
                upstream.close()
                await upstream.closed()
            await self._admin.cleanup()
            self._lifecycle.happen(event)

    @property
    def addresses(self) -> list[str]:
        """The public URL, or the path of the unix socket."""
        assert self._public is not None
        names = [sock.getsockname() for sock in self._public.sockets]
        return [_url(name) if isinstance(name, tuple) else f"unix:{name}" for name in names]


async def serve(settings: Settings, folder: Path = Path()) -> None:
    """Run the gateway until SIGTERM or SIGINT; a second one stops it at once.

    folder: of the config file; the working directory where there is none.

    Raises ListenError when it cannot listen.
    """
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()
    insisted = asyncio.Event()

    def ask() -> None:
        (insisted if asked.is_set() else asked).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ask)
    files = _raise_descriptor_limit()
    log = _access_log(settings)
    server = Server(settings, log or (lambda _: None), folder)
    await server.start()
    if not HAS_C_PARSER:
        logger.warning("aiohttp runs without its C parser, which is slower and laxer; install a wheel of aiohttp")
    logger.info("%d files may be open: room for about %d tunnels", files, (files - 64) // 2)
    logger.info("admin on %s", settings.admin)
    logger.info("gateway ready on %s (open it in a browser)", ", ".join(server.addresses))
    await asked.wait()
    logger.info("stopping; a second signal stops at once")
    stopping = loop.create_task(server.stop(), name="stop of the gateway")
    second = loop.create_task(insisted.wait(), name="second signal")
    await asyncio.wait({stopping, second}, return_when=asyncio.FIRST_COMPLETED)
    second.cancel()
    if not stopping.done():
        stopping.cancel()
    await asyncio.wait({stopping, second})
    if log is not None:
        log.flush()
    logger.info("stopped")


def _access_log(settings: Settings) -> AccessLog | None:
    if settings.access_log == "off":
        return None
    unbuffered = open(sys.stdout.fileno(), "wb", buffering=0, closefd=False)
    return AccessLog(LINES[settings.access_log], cast(BinaryIO, unbuffered))


async def _claim(listen: Callable[[], Awaitable[Any]], address: str, key: str) -> Any:
    try:
        return await listen()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            what = "is already in use; stop the program that listens there"
        elif error.errno == errno.EACCES:
            what = "may not be used by this user; ports below 1024 need a privilege. Use a higher port"
        else:
            what = f"cannot be listened on ({error.strerror or error}). Correct it"
        raise ListenError(f"{address} {what}, or change {key} in the configuration.") from error


def _raise_descriptor_limit() -> int:
    """Raise the limit of open files as far as the system lets us; return it. Each tunnel takes two."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError):  # macOS names a hard limit that it does not grant
            return soft
    return hard


def _url(name: tuple[Any, ...]) -> str:
    host, port = name[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
