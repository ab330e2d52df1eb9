"""Messages to clients, written: replies and pushes of Centrifugo's client protocol, in JSON.

What a publication carries is JSON already and is passed through as it is. A field that is zero, false or empty is left
out, as Centrifugo does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ws_service.hub.codes import EndCode, ErrorCode
from ws_service.hub.protocol import write_json
from ws_service.hub.publication import ClientInfo, Position, Publication

PING = b"{}"

_PUSH = b'{"push":'


def reply(number: int, name: str, result: bytes = b"{}") -> bytes:
    """Return the answer to a command. number: its id. name: its kind. result: JSON."""
    return b'{"id":%d,"%b":%b}' % (number, name.encode(), result)


def error_reply(number: int, error: ErrorCode) -> bytes:
    """Return the answer to a command that fails."""
    is_temporary = b',"temporary":true' if error.is_temporary else b""
    return b'{"id":%d,"error":{"code":%d,"message":%b%b}}' % (
        number,
        error.code,
        write_json(error.message),
        is_temporary,
    )


def publication_push(topic: str, publication: Publication) -> bytes:
    """Return a publication as a push."""
    return _push(topic, b"pub", publication_json(publication))


def join_push(topic: str, info: ClientInfo) -> bytes:
    """Return the push that tells of a client that has subscribed."""
    return _push(topic, b"join", b'{"info":%b}' % info_json(info))


def leave_push(topic: str, info: ClientInfo) -> bytes:
    """Return the push that tells of a client that is gone."""
    return _push(topic, b"leave", b'{"info":%b}' % info_json(info))


def is_push(message: bytes) -> bool:
    """Tell whether a message is a push; the others are replies, and ``PING``."""
    return message.startswith(_PUSH)


def content_of(push: bytes) -> bytes:
    """Return a push without the object around it."""
    return push[len(_PUSH) : -1]


def unsubscribe_push(topic: str, end: EndCode) -> bytes:
    """Return the push that ends a subscription."""
    return _push(topic, b"unsubscribe", b'{"code":%d,"reason":%b}' % (end.code, write_json(end.reason)))


def publication_json(publication: Publication) -> bytes:
    """Return a publication as an object."""
    return _object(
        data=publication.data,
        offset=_number(publication.offset),
        info=info_json(publication.info) if publication.info is not None else b"",
        tags=write_json(dict(publication.tags)) if publication.tags else b"",
    )


def info_json(info: ClientInfo) -> bytes:
    """Return a client, as others see it, as an object."""
    return _object(
        user=write_json(info.user) if info.user else b"",
        client=write_json(info.client),
        conn_info=info.connection or b"",
        chan_info=info.subscription or b"",
    )


def connect_result(client: str, version: str, ping: float, ttl: float | None, subs: Mapping[str, bytes]) -> bytes:
    """Return what connect is answered. ping: seconds between pings of the server; 0 for none, and no pong is expected.

    ttl: seconds until the token must be refreshed; None: never. subs: the results of the server's subscriptions.
    """
    return _object(
        client=write_json(client),
        version=write_json(version),
        subs=_mapping(subs) if subs else b"",
        **_expiry(ttl),
        ping=_number(round(ping)),
        pong=_flag(is_so=ping > 0),
    )


def refresh_result(client: str, version: str, ttl: float | None) -> bytes:
    """Return what refresh is answered."""
    return _object(client=write_json(client), version=write_json(version), **_expiry(ttl))


def expiry_result(ttl: float | None) -> bytes:
    """Return what sub_refresh is answered."""
    return _object(**_expiry(ttl))


def subscribe_result(
    position: Position | None,
    publications: Iterable[Publication] = (),
    *,
    ttl: float | None = None,
    was_recovering: bool = False,
    is_recovered: bool = False,
) -> bytes:
    """Return what subscribe is answered. position: that of the answer; None where the topic keeps no history."""
    has_history = position is not None
    return _object(
        **_expiry(ttl),
        recoverable=_flag(is_so=has_history),
        epoch=write_json(position.epoch) if position is not None and position.epoch else b"",
        publications=_list(publications),
        recovered=_flag(is_so=is_recovered),
        offset=_number(position.offset) if position is not None else b"",
        positioned=_flag(is_so=has_history),
        was_recovering=_flag(is_so=was_recovering),
    )


def history_result(position: Position, publications: Iterable[Publication]) -> bytes:
    """Return what history is answered."""
    return b'{"publications":[%b],"offset":%d,"epoch":%b}' % (
        b",".join(publication_json(each) for each in publications),
        position.offset,
        write_json(position.epoch),
    )


def presence_result(clients: Mapping[str, ClientInfo]) -> bytes:
    """Return what presence is answered."""
    return b'{"presence":%b}' % _mapping({client: info_json(info) for client, info in clients.items()})


def presence_stats_result(clients: Mapping[str, ClientInfo]) -> bytes:
    """Return what presence_stats is answered."""
    users = {info.user for info in clients.values()}
    return b'{"num_clients":%d,"num_users":%d}' % (len(clients), len(users))


# -- inside


def _push(topic: str, kind: bytes, content: bytes) -> bytes:
    return _PUSH + b'{"channel":%b,"%b":%b}}' % (write_json(topic), kind, content)


def _object(**fields: bytes) -> bytes:
    """Return an object of fields that are JSON; one that is empty is left out."""
    return b"{%b}" % b",".join(b'"%b":%b' % (name.encode(), value) for name, value in fields.items() if value)


def _mapping(values: Mapping[str, bytes]) -> bytes:
    return b"{%b}" % b",".join(b"%b:%b" % (write_json(name), value) for name, value in values.items())


def _list(publications: Iterable[Publication]) -> bytes:
    items = b",".join(publication_json(each) for each in publications)
    return b"[%b]" % items if items else b""


def _number(value: int) -> bytes:
    return b"%d" % value if value else b""


def _flag(*, is_so: bool) -> bytes:
    return b"true" if is_so else b""


def _expiry(ttl: float | None) -> dict[str, bytes]:
    """Return the fields of an expiry: whole seconds, at least one, because 0 is the same as none."""
    return {} if ttl is None else {"expires": b"true", "ttl": b"%d" % max(1, int(ttl))}
