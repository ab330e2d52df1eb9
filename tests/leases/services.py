"""Who else there may be beside a client and an upstream: services that adopt sockets, and an upstream that is full."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable
from typing import Any

from tests.leases import ledger
from tests.leases.harness import Rig
from tests.leases.peers import Ended, Peer
from tests.proxy.listening import SWITCH
from tests.ws_service.adopting import application, parts
from ws_service.handoff import protocol as wire
from ws_service.handoff.receiver import Handoff
from ws_service.handoff.socket_file import Claim
from ws_service.hub.access import Grant, Identity
from ws_service.hub.broker import Keep
from ws_service.hub.brokers.memory import MemoryBroker
from ws_service.hub.hub import Hub
from ws_service.hub.publication import ClientInfo, Publication
from ws_service.hub.sse import EventStreams
from ws_service.hub.topics import Namespaces, Recovery, TopicOptions
from ws_service.websocket.listener import LimitedHTTP, ListenerResources
from ws_service.websocket.resources import Resources


class FakeService:
    """A service that adopts sockets, or does not, as ``mode`` says: adopt, refuse, be silent, die."""

    def __init__(self, rig: Rig, mode: str) -> None:
        self._rig = rig
        self._mode = mode
        self._path = rig.folder / f"fake-{os.urandom(4).hex()}.sock"
        self._listener: socket.socket | None = None
        self._channels: set[socket.socket] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._undecided: list[tuple[socket.socket, str]] = []
        self.values: dict[str, Any] = {"handoff": str(self._path)}

    async def open(self) -> None:
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(str(self._path))
        self._listener.listen()
        self._listener.setblocking(False)
        asyncio.get_running_loop().add_reader(self._listener.fileno(), self._accept)

    async def ready(self) -> None:
        """Wait until the gateway can hand over; decide on what was left undecided."""
        for channel, id in self._undecided:
            self._say(channel, wire.Refused(id, "it is late"))
        self._undecided.clear()
        if not self._rig.is_stopped:
            await dialled(self._rig)

    def left(self) -> list[str]:
        return [f"play of the service: {len(self._tasks)}"] if self._tasks else []

    def stop(self) -> None:
        """Stop, as a service does: its sockets end with it."""
        for channel in list(self._channels):
            self._end(channel)

    async def close(self) -> None:
        loop = asyncio.get_running_loop()
        assert self._listener is not None
        loop.remove_reader(self._listener.fileno())
        self._listener.close()
        self._path.unlink()
        self.stop()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _accept(self) -> None:
        assert self._listener is not None
        channel, _ = self._listener.accept()
        channel.setblocking(False)
        self._channels.add(channel)
        asyncio.get_running_loop().add_reader(channel.fileno(), self._readable, channel)

    def _end(self, channel: socket.socket) -> None:
        self._channels.discard(channel)
        if channel.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(channel.fileno())
            channel.close()

    def _readable(self, channel: socket.socket) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(channel, wire.MAX_MESSAGE, 4)
        except OSError:
            data, descriptors = b"", []
        if not data:
            self._end(channel)
            return
        self._rig.stage.activity += 1
        message = wire.decode(data)
        if isinstance(message, wire.Hello):
            self._say(channel, wire.Hello(0))
            return
        assert isinstance(message, wire.Open)
        if self._mode == "adopt":
            adopted = socket.socket(fileno=descriptors[0])
            task = asyncio.get_running_loop().create_task(
                self._serve(channel, message, adopted), name="play of the service"
            )
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        for descriptor in descriptors:
            os.close(descriptor)
        if self._mode == "refuse":
            self._say(channel, wire.Refused(message.socket.id, "it does not want to"))
        elif self._mode == "die":
            self._end(channel)
        else:
            self._undecided.append((channel, message.socket.id))

    async def _serve(self, channel: socket.socket, message: wire.Open, adopted: socket.socket) -> None:
        adopted.setblocking(False)
        stage = self._rig.stage
        try:
            _, peer = await asyncio.get_running_loop().connect_accepted_socket(lambda: Peer(stage, "service"), adopted)
        except BaseException:
            adopted.close()
            raise
        try:
            self._say(channel, wire.Adopted(message.socket.id))
            peer.send(SWITCH)
            peer.send(await peer.some(8))
            await peer.rest()
        except Ended:
            pass
        finally:
            peer.end()
            await peer.gone()
            self._say(
                channel,
                wire.Ended(message.socket, time.monotonic(), 101, 0, 0, 1000, wire.Ending.CLIENT),
            )

    def _say(self, channel: socket.socket, message: wire.Message) -> None:
        if channel.fileno() < 0:
            return
        try:
            channel.send(wire.encode(message))
        except OSError:  # the gateway has ended the channel
            self._end(channel)


class RealService:
    """The service's own hand-off and uvicorn's protocols, in the same loop."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._path = rig.folder / f"real-{os.urandom(4).hex()}.sock"
        self._handoff: Handoff | None = None
        self.values: dict[str, Any] = {"handoff": str(self._path)}

    async def open(self) -> None:
        self._handoff = Handoff(Claim(self._path), Resources(64 << 20), **parts(application, ws="auto"))

    async def ready(self) -> None:
        if not self._rig.is_stopped and not self._rig.is_spent:
            await dialled(self._rig)

    def left(self) -> list[str]:
        assert self._handoff is not None
        # What ends while no gateway is there is kept for the next one: that is meant.
        left = ledger.left_in_service(self._handoff)
        return left if not self._rig.is_stopped else [each for each in left if "reports" not in each]

    def stop(self) -> None:
        """Begin to stop, as uvicorn's shutdown has it: adopt no more, then close what there is."""
        self._rig.own(self._stop(), "play of the stop of the service")

    async def _stop(self) -> None:
        assert self._handoff is not None
        await self._handoff.stop()
        ledger.close_sockets(self._handoff)

    async def close(self) -> None:
        assert self._handoff is not None
        await self._stop()
        await self._handoff.close()
        os.unlink(f"{self._path}.lock")


class WaitingBroker(MemoryBroker):
    """A broker in memory that has to be waited for: before it has done what it is asked, and after that."""


def _waiting(name: str) -> Callable[..., Any]:
    async def method(self: WaitingBroker, *arguments: Any, **options: Any) -> Any:
        await asyncio.sleep(0)
        result = await getattr(MemoryBroker, name)(self, *arguments, **options)
        await asyncio.sleep(0)
        return result

    return method


for _name in ("subscribe", "unsubscribe", "publish", "history", "join", "leave", "presence"):
    setattr(WaitingBroker, _name, _waiting(_name))


class EveryRight:
    """Anyone may do anything; a token names the topics of the server."""

    def identify(self, token: str, now: float) -> Identity:
        return Identity("ada", topics=tuple(token.split(",")))

    def may_subscribe(self, topic: str, user: str, token: str, now: float) -> Grant:
        return Grant()

    def may_publish(self, topic: str, user: str, *, is_subscribed: bool) -> None:
        return None


TOPIC = TopicOptions(Keep(1), Recovery.STREAM, presence=True, join_leave=True, rate=1e6)


class HubService(RealService):
    """The service's hand-off with its hub, in the same loop."""

    async def open(self) -> None:
        broker = WaitingBroker()
        self._hub = Hub(broker, Namespaces(default=TOPIC), EveryRight())
        await self._hub.start()
        for topic in ("a", "b"):  # each keeps one publication from here on
            await broker.publish(topic, Publication(b"0", info=ClientInfo("c")), TOPIC.keep)
        self._handoff = Handoff(Claim(self._path), Resources(64 << 20), **parts(application, ws="auto"), hub=self._hub)

    def left(self) -> list[str]:
        return super().left() + ledger.left_in_hub(self._hub)

    async def close(self) -> None:
        await super().close()
        await self._hub.close()


class StreamService:
    """The service's own listener with the event streams of its hub, in the same loop."""

    def __init__(self, rig: Rig) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.values: dict[str, Any] = {"upstreams": {"dash": rig.dash.url, "ws": url}}

    async def open(self) -> None:
        self._hub = Hub(WaitingBroker(), Namespaces(default=TOPIC), EveryRight())
        await self._hub.start()
        for topic in ("a", "b"):
            await self.publish(topic)
        self._streams = EventStreams(self._hub)
        made_of = parts(self._streams, http=LimitedHTTP)
        made_of["config"].resources = ListenerResources(64 << 20, 15)
        self._connections = made_of["server_state"].connections
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: LimitedHTTP(**made_of), sock=self._listener)

    async def publish(self, topic: str = "a") -> None:
        await self._hub.broker.publish(topic, Publication(b"7"), TOPIC.keep)

    async def ready(self) -> None:
        pass

    def left(self) -> list[str]:
        streams = [f"event streams: {len(self._streams)}"] if len(self._streams) else []
        return streams + ledger.left_in_hub(self._hub)

    def stop(self) -> None:
        """Begin to stop, as the server's shutdown has it."""
        self._hub.stop()
        self._streams.stop()

    async def close(self) -> None:
        self.stop()
        self._server.close()
        for connection in list(self._connections):
            connection.transport.abort()
        await self._hub.close()


async def dialled(rig: Rig) -> None:
    """Wait until the gateway has a channel that is greeted."""
    async with asyncio.timeout(10):
        while not ledger.has_service(rig.server):
            ledger.look_for_services(rig.server)
            await asyncio.sleep(0.001)


class NoService:
    """There is no service of its own: what is played is only in the settings of the gateway."""

    values: dict[str, Any]

    async def open(self) -> None:
        pass

    async def ready(self) -> None:
        pass

    def left(self) -> list[str]:
        return []

    def stop(self) -> None:
        pass

    async def close(self) -> None:
        pass


class TwoAddresses(NoService):
    """Each upstream at two addresses. ws: those of ``ws``; None: its own and the other one, both tunnelled."""

    def __init__(self, rig: Rig, ws: list[object] | None = None) -> None:
        addresses = {"dash": [rig.dash.url, rig.other.url], "ws": ws or [rig.ws.url, rig.other.url]}
        self.values: dict[str, Any] = {"upstreams": addresses, "handoff": "off"}


class ServiceAtOneOfTwo(FakeService):
    """A service that adopts sockets at one address of two; the other one gets them through tunnels."""

    def __init__(self, rig: Rig, mode: str) -> None:
        super().__init__(rig, mode)
        here = {"url": rig.ws.url, "handoff": str(self._path)}
        self.values = {"upstreams": {"dash": rig.dash.url, "ws": [here, {"url": rig.other.url, "handoff": "off"}]}}


class FullUpstream(NoService):
    """An upstream whose queue of connections is full, so that nobody is refused and nobody gets in."""

    def __init__(self, rig: Rig) -> None:
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(0)
        self._waiting: list[socket.socket] = []
        port = self._listener.getsockname()[1]
        self.values: dict[str, Any] = {"upstreams": {"dash": rig.dash.url, "ws": f"http://127.0.0.1:{port}"}}

    async def open(self) -> None:
        for _ in range(3):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(self._listener.getsockname())
            self._waiting.append(sock)

    async def close(self) -> None:
        for sock in (*self._waiting, self._listener):
            sock.close()
