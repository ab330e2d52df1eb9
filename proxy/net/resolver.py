"""How a host name becomes addresses, without a slow name server delaying anything else.

The event loops look names up in pools of a few threads that everything
shares (asyncio five or so, uvloop four). A name server that does not answer
keeps a thread for half a minute, so a handful of tries would stop all other
look-ups, and asyncio waits for its threads at the end of the process. Here
each name has a thread of its own, one at a time, that nothing waits for.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from ipaddress import ip_address
from threading import Thread


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
            found: list[str] | OSError
            try:
                answers = socket.getaddrinfo(self._host, None, type=socket.SOCK_STREAM)
                found = list(dict.fromkeys(str(answer[4][0]) for answer in answers))
            except OSError as error:
                found = error
            except UnicodeError as error:  # a label of more than 63 characters
                found = socket.gaierror(socket.EAI_NONAME, str(error))
            with suppress(RuntimeError):  # the loop has ended meanwhile, and all that waited with it
                loop.call_soon_threadsafe(settle, found)

        Thread(target=run, name=f"look-up of {self._host}", daemon=True).start()
        return lookup


def _is_address(host: str) -> bool:
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
