"""DNS: how a host name becomes addresses, without a slow name server delaying anything else.

The event loops look names up in pools of a few threads that everything
shares (asyncio five or so, uvloop four). A name server that does not answer
keeps a thread for half a minute, so a handful of tries would stop all other
look-ups, and asyncio waits for its threads at the end of the process. Here
each name has a thread of its own, one at a time, that nothing waits for.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address
from threading import Thread

TIMEOUT = 5.0
"""Seconds for ``look_up``. Precedent: the resolver's own timeout for one name server."""


class Resolver:
    """A host, looked up anew for each connection: containers come back with another address.

    host: a name, or an address (then there is nothing to look up).
    """

    def __init__(self, host: str) -> None:
        self._host = host
        self.is_address = _is_address(host)
        self._lookup: asyncio.Future[list[str] | OSError] | None = None

    @property
    def is_looking_up(self) -> bool:
        """Whether the name server has not answered yet."""
        return self._lookup is not None

    async def addresses(self) -> list[str]:
        """Return the addresses in the order to try them. Raises OSError; cancelling leaves the look-up to others.

        A call while a look-up is under way gets the result of that one.
        """
        if self.is_address:
            return [self._host]
        if self._lookup is None:
            self._lookup = self._look_up()
        found = await asyncio.shield(self._lookup)
        if isinstance(found, OSError):
            # A new one: it would collect the tracebacks of all calls that share it.
            raise type(found)(*found.args)
        return found

    def _look_up(self) -> asyncio.Future[list[str] | OSError]:
        loop = asyncio.get_running_loop()
        lookup: asyncio.Future[list[str] | OSError] = loop.create_future()

        def settle(found: list[str] | OSError) -> None:
            self._lookup = None
            lookup.set_result(found)

        def run() -> None:
            found = _addresses(self._host)
            with suppress(RuntimeError):  # the loop has ended meanwhile, and all that waited with it
                loop.call_soon_threadsafe(settle, found)

        _in_thread(self._host, run)
        return lookup


def look_up(host: str) -> list[str]:
    """Return the addresses of a host before there is a loop; ``*`` is every one of this host.

    Raises OSError, after ``TIMEOUT`` at the latest, whatever the name server does.
    """
    answer: list[list[str] | OSError] = []
    _in_thread(host, lambda: answer.append(_addresses(host))).join(TIMEOUT)
    found = answer[0] if answer else TimeoutError(f"no answer within {TIMEOUT:g} s")
    if isinstance(found, OSError):
        raise found
    return found


def _in_thread(host: str, run: Callable[[], None]) -> Thread:
    """Run something in a thread of its own. Raises OSError where the system gives this process no other one."""
    thread = Thread(target=run, name=f"look-up of {host}", daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        raise OSError(errno.ENOMEM, "no thread for the look-up of its name can be started") from error
    return thread


def _addresses(host: str) -> list[str] | OSError:
    try:
        # As listening on it asks (AI_PASSIVE): only so is * every address, and not loopback. It changes nothing else.
        answers = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        return error
    except UnicodeError as error:  # a label of more than 63 characters
        return socket.gaierror(socket.EAI_NONAME, str(error))
    return list(dict.fromkeys(str(answer[4][0]) for answer in answers))


def _is_address(host: str) -> bool:
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
