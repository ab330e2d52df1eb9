"""PyPI's centrifuge-python, told on standard input what to do, as ``js_client.cjs`` is, and saying the same."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

import centrifuge
from centrifuge import Client, StreamPosition

MIN_DELAY, MAX_DELAY = 0.05, 0.25


def say(event: str, **fields: object) -> None:
    print(json.dumps({"event": event, **fields}), flush=True)


def code_of(error: Exception) -> int | None:
    return getattr(error, "code", None)


def dispenser(tokens: list[str], topic: str | None) -> Callable[..., Awaitable[str]]:
    """Give the tokens in their order; the last one again and again."""
    left = list(tokens)

    async def ask(*_: object) -> str:
        say("token asked", topic=topic)
        return left.pop(0) if len(left) > 1 else left[0]

    return ask


class ClientEvents(centrifuge.ClientEventHandler):
    async def on_connecting(self, ctx: Any) -> None:
        say("connecting", code=ctx.code, reason=ctx.reason)

    async def on_connected(self, ctx: Any) -> None:
        say("connected", client=ctx.client)

    async def on_disconnected(self, ctx: Any) -> None:
        say("disconnected", code=ctx.code, reason=ctx.reason)

    async def on_error(self, ctx: Any) -> None:
        say("error", code=code_of(ctx.error), message=str(ctx.error))


class SubscriptionEvents(centrifuge.SubscriptionEventHandler):
    def __init__(self, topic: str) -> None:
        self.topic = topic

    def _say(self, event: str, **fields: object) -> None:
        say(event, topic=self.topic, **fields)

    async def on_subscribing(self, ctx: Any) -> None:
        self._say("subscribing", code=ctx.code, reason=ctx.reason)

    async def on_subscribed(self, ctx: Any) -> None:
        position = ctx.stream_position or StreamPosition(0, "")
        self._say(
            "subscribed",
            was_recovering=ctx.was_recovering,
            recovered=ctx.recovered,
            recoverable=ctx.recoverable,
            offset=position.offset,
            epoch=position.epoch,
        )

    async def on_unsubscribed(self, ctx: Any) -> None:
        self._say("unsubscribed", code=ctx.code, reason=ctx.reason)

    async def on_publication(self, ctx: Any) -> None:
        pub = ctx.pub
        user = pub.info.user if pub.info else None
        self._say("publication", data=pub.data, offset=pub.offset or 0, user=user, tags=pub.tags or {})

    async def on_join(self, ctx: Any) -> None:
        self._say("join", client=ctx.info.client, user=ctx.info.user)

    async def on_leave(self, ctx: Any) -> None:
        self._say("leave", client=ctx.info.client, user=ctx.info.user)

    async def on_error(self, ctx: Any) -> None:
        self._say("subscription error", code=code_of(ctx.error), message=str(ctx.error))


class Actions:
    """What the client can be told to do: a method for each."""

    def __init__(self, options: dict[str, Any]) -> None:
        tokens = options.get("tokens")
        self._client = Client(
            options["url"],
            events=ClientEvents(),
            token=options.get("token") or "",
            get_token=dispenser(tokens, None) if tokens else None,
            min_reconnect_delay=MIN_DELAY,
            max_reconnect_delay=MAX_DELAY,
            proxy=None,
        )

    async def connect(self) -> None:
        await self._client.connect()

    async def disconnect(self) -> None:
        await self._client.disconnect()

    async def subscribe(
        self,
        topic: str,
        token: str = "",
        tokens: list[str] | None = None,
        recoverable: bool = False,
        since: dict[str, Any] | None = None,
    ) -> None:
        async def position(_: str) -> StreamPosition:
            return StreamPosition(**since)  # type: ignore[arg-type]

        subscription = self._client.new_subscription(
            topic,
            events=SubscriptionEvents(topic),
            token=token,
            get_token=dispenser(tokens, topic) if tokens else None,
            recoverable=recoverable,
            join_leave=True,
            min_resubscribe_delay=MIN_DELAY,
            max_resubscribe_delay=MAX_DELAY,
            get_state=position if since else None,
        )
        await subscription.subscribe()

    async def unsubscribe(self, topic: str) -> None:
        subscription = self._client.get_subscription(topic)
        assert subscription is not None
        await subscription.unsubscribe()

    async def publish(self, topic: str, data: object) -> None:
        await self._client.publish(topic, data)

    async def presence(self, topic: str) -> object:
        return {client: asdict(info) for client, info in (await self._client.presence(topic)).clients.items()}

    async def presence_stats(self, topic: str) -> object:
        found = await self._client.presence_stats(topic)
        return {"clients": found.num_clients, "users": found.num_users}

    async def history(
        self, topic: str, limit: int = 0, since: dict[str, Any] | None = None, reverse: bool = False
    ) -> object:
        position = StreamPosition(**since) if since else None
        found = await self._client.history(topic, limit, position, reverse)
        publications = [{"data": pub.data, "offset": pub.offset} for pub in found.publications]
        return {"publications": publications, "offset": found.offset, "epoch": found.epoch}

    async def rpc(self, method: str) -> object:
        return (await self._client.rpc(method, {})).data


async def answer(actions: Actions, line: bytes) -> None:
    given = json.loads(line)
    number, action = given.pop("id"), given.pop("action")
    try:
        say("result", id=number, value=await getattr(actions, action)(**given))
    except Exception as error:
        say("result", id=number, code=code_of(error), message=str(error))


async def main(options: dict[str, Any]) -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    actions = Actions(options)
    say("ready")
    async with asyncio.TaskGroup() as tasks:
        while line := await reader.readline():
            tasks.create_task(answer(actions, line), name="an action")


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
