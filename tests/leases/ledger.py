"""What is counted inside of gateway and service. The only file here that knows a private name of either.

Each function returns sentences about what is left over; nothing left is no sentence.
"""

from __future__ import annotations

import gc
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from aiohttp import web

from proxy.config import Settings
from proxy.http1 import request_reader, response_reader
from proxy.net.rate_limit import BURST
from proxy.server.server import Server
from proxy.upstream.upstream import Upstream
from ws_service.handoff.receiver import Handoff
from ws_service.hub.hub import Hub


def watched_methods() -> Iterator[tuple[type, str]]:
    """Yield the methods of which aiohttp makes tasks past the loop's task factory."""
    yield web.RequestHandler, "start"
    yield web.RequestHandler, "_handle_request"


def port_of(server: Server) -> int:
    """Return the public port."""
    return int(server.addresses[0].rpartition(":")[2])


def settings_of(server: Server) -> Settings:
    """Return the settings in force."""
    return server._gateway.runtime.settings


def upstreams_of(server: Server) -> list[Upstream]:
    """Return the upstreams in force."""
    return list(server._gateway.runtime.upstreams.values())


def lose_clients(server: Server) -> None:
    """Have the gateway find each client gone at once, as it does when a reset has just arrived."""
    for connection in list(server._manager._connections):
        if connection.socket.transport is not None:
            connection.socket.transport.abort()
    for tunnel in server._gateway.websockets.tunnels:
        tunnel.legs[0].transport.abort()


def lose_upstreams(server: Server) -> None:
    """Close idle connections to upstreams: they may stay, and would hide a descriptor that is lost."""
    for upstream in upstreams_of(server):
        for address in upstream.addresses:
            while address._pool._idle:
                address._pool._idle.pop().abort()


def end_channels(server: Server) -> None:
    """End the channels of the hand-off, as the death of the service does."""
    for channel in server._gateway.handoff.channels:
        channel.end("")


def look_for_services(server: Server) -> None:
    """Dial the services of the hand-off that are not dialled yet."""
    for handoff in server._gateway.handoff._by_path.values():
        handoff.services.discover()


def has_service(server: Server) -> bool:
    """Tell whether sockets can be handed over now."""
    handoff = server._gateway.handoff
    return handoff.is_on and not handoff.absences


def hurry(server: Server, client: str, seconds: float) -> None:
    """Have the next handshake of a client wait for so long, as if it had made many just before."""
    rate = settings_of(server).limits.handshakes_per_second
    assert rate is not None
    handshakes = server.limiter._client_limits._handshakes
    handshakes._paid[client] = time.monotonic() + BURST + seconds - 1 / rate


def in_flight(server: Server) -> int:
    """Return how many exchanges there are."""
    return len(server._lifecycle.in_flight)


def is_waiting(server: Server, count: int) -> bool:
    """Tell whether so many requests wait for an upstream."""
    return sum(upstream.queue.waiting for upstream in upstreams_of(server)) == count


def left_in_gateway(server: Server, also: Iterable[Upstream] = ()) -> list[str]:
    """Return what clients have left behind in a gateway. also: upstreams of before a reload."""
    gateway, manager = server._gateway, server._manager
    left = Counter[str]()
    left["exchanges in flight"] = len(server._lifecycle.in_flight)
    for upstream in {*upstreams_of(server), *also}:
        queue, name = upstream.queue, upstream.name
        left[f"slots of {name}"] = queue.in_flight
        left[f"waiting for a slot of {name}"] = len(queue._for_slot)
        left[f"waiting for a check of {name}"] = len(queue._for_check)
        left[f"waiting for the return of {name}"] = len(queue._for_return)
    admission = server.limiter._client_limits
    counters = {
        "connections": admission.connections,
        "WebSockets": admission.websockets,
        "buffered bytes": admission.buffered,
    }
    for name, counter in counters.items():
        left[f"{name} counted"] = counter.total
        left[f"clients with {name}"] = len(counter._counts)
    left["tunnels"] = len(gateway.websockets._tunnels)
    left["exchanges of the fast path"] = len(gateway._fast_path.waiting)
    left["connections of clients"] = len(manager._connections)
    left["protocols of aiohttp"] = len(manager.streaming.connections)
    left["lingering connections"] = len(manager.lingering)
    left["heads waited for"] = len(manager.heads)
    for readers in (manager._slow_readers, gateway.websockets._slow_readers):
        if readers._standing:  # until the next look; this is one
            for _ in readers._pass(0):
                pass
        left["slow readers"] += len(readers._standing)
    left["uploads"], left["clients with uploads"] = gateway.uploads.total, gateway.uploads.clients
    if server._acceptor is not None:
        left["pending connections"] = len(server._acceptor)
        left["clients with TLS handshakes"] = server._acceptor.tls_handshakes.clients
    if server._admin_listener is not None:
        left["admin connections"] = len(server._admin_listener._connections)
        left["admin heads waited for"] = len(server._admin_listener._deadlines)
    for channel in gateway.handoff.channels:
        left["sockets in doubt"] += len(channel._doubtful)
        left["replies waited for"] += len(channel._offered)
        left["handed-over sockets counted"] += channel.live
        left["clients with handed-over sockets"] += len(channel._adopted)
    return [f"{what}: {count}" for what, count in sorted(left.items()) if count]


def left_in_service(handoff: Handoff) -> list[str]:
    """Return what adopted sockets have left behind in a service."""
    state: Any = handoff._uvicorn["server_state"]
    left = {
        "adopted sockets": len(handoff._sockets),
        "adoptions": len(handoff._adoptions),
        "reports not sent": len(handoff._unreported),
        "connections of uvicorn": len(state.connections),
        "tasks of uvicorn": len(state.tasks),
        "clients with memory": len(handoff._resources.memory),
        "sockets swept": len(handoff._resources.sweep),
        "sockets that wait to be fed": len(handoff._resources.scheduler),
    }
    return [f"{what}: {count}" for what, count in left.items() if count]


def left_in_hub(hub: Hub) -> list[str]:
    """Return what clients have left behind in a hub, and with its broker in memory."""
    broker: Any = hub.broker
    left = {
        "clients of the hub": hub.clients,
        "topics": len(hub._registry._topics),
        "topics of which the broker is to be told": len(hub._registry._due),
        "messages on their way": len(hub._fan_out),
        "topics at the broker": len(broker._subscribed),
        "topics with clients that are present": len(broker._presence._topics),
    }
    return [f"{what}: {count}" for what, count in left.items() if count]


def close_sockets(handoff: Handoff) -> None:
    """Close every connection of uvicorn, as its shutdown does."""
    state: Any = handoff._uvicorn["server_state"]
    for connection in list(state.connections):
        connection.shutdown()


def forget_readings(server: Server) -> None:
    """Have the gateway forget what it remembers of clients: a bounded memory, which no client leaves behind."""
    reader = server._gateway.runtime.reader
    reader._remembered.cache_clear()
    reader._remembered_client.cache_clear()
    request_reader._read_remembered.cache_clear()
    response_reader._read_remembered.cache_clear()
    server._sampler._parts.counts._settle()  # records that have ended wait to be counted together


def descriptors() -> dict[str, str]:
    """Return the open descriptors of this process, and what each is."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:  # the one of the folder itself
            continue
    return found


BOUNDED = ("proxy.metrics.", "proxy.status.", "ws_service.net.histogram")
"""Where bounded memories are, which no client leaves behind: the series of metrics, one for each combination of labels,
and the samples of the status page, one a second. Their own tests assert the bounds."""


def objects() -> Counter[str]:
    """Return how many objects there are of each class of gateway and service: what is written later is counted too."""
    gc.collect()
    kinds = Counter(type(each) for each in gc.get_objects())
    return Counter(
        {
            f"{kind.__module__}.{kind.__qualname__}": count
            for kind, count in kinds.items()
            if isinstance(kind.__module__, str)
            and kind.__module__.startswith(("proxy.", "ws_service."))
            and not kind.__module__.startswith(BOUNDED)
        }
    )
