"""The gateway's addresses become listening sockets."""

from __future__ import annotations

import logging
import stat
from pathlib import Path

from proxy.config import split_listen
from proxy.errors import ListenError
from proxy.net.resolver import Resolver
from ws_service.net.accept_loop import BACKLOG
from ws_service.net.listening import Bound, Found, bind_socket_file, bind_tcp, find, listen_problem

logger = logging.getLogger("proxy")


async def bind(address: str, setting: str) -> Bound:
    """Listen on an address.

    address: ``host:port``, ``[v6]:port`` or ``unix:path``. setting: the key that holds it, for messages.

    Raises ListenError, with nothing left open.
    """
    place = split_listen(address)
    try:
        bound = _bind_unix(Path(place)) if isinstance(place, str) else bind_tcp(await _find(*place))
        return _listen(bound)
    except OSError as error:
        raise ListenError(listen_problem(address, error, setting)) from error


async def _find(host: str, port: int) -> list[Found]:
    """Look a host up without keeping the loop, or a thread that its end waits for."""
    addresses = [host] if host == "*" else await Resolver(host).addresses()
    return [found for address in addresses for found in find(address, port)]


def _bind_unix(path: Path) -> Bound:
    bound = bind_socket_file(path)
    folder = path.parent.resolve()
    if not folder.stat().st_mode & stat.S_IXGRP:
        logger.info("a proxy of another user cannot enter the folder %s; if it is to: chmod g+x %s", folder, folder)
    return bound


def _listen(bound: Bound) -> Bound:
    try:
        for sock in bound.sockets:
            sock.listen(BACKLOG)
    except BaseException:
        bound.close()
        raise
    return bound
