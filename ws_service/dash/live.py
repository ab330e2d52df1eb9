"""The component: what a topic's messages do on the page. ``js/live.js`` is its other half."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from dash.development.base_component import Component

from ws_service.dash.signing import sign_topic
from ws_service.hub.topics import MAX_NAME, is_valid, users_of

MODES = ("latest", "list", "append", "extendData", "rowTransaction")

INCREMENTS = ("extendData", "rowTransaction")
"""Properties that take increments: each is a mode of its own."""

QUEUE = 10_000
"""Messages that wait for a component that is not on the page; more are lost, and ``state`` is ``gap``."""


class Live(Component):
    """Puts what is published to a topic into a component of the page, for as long as it is mounted itself.

    topic: which one; the page gets a token for it when the layout is rendered. Render a topic only for those that may
    read it: ``f"user:#{name}"`` for the user who is logged in.
    into: the id of the component, a dict for pattern matching; None: none, the page's JavaScript listens
    (``dashHub.on``). It need not be on the page yet.
    prop: the property that is set; None: what the mode asks for, in ``latest`` and ``list`` ``data``.
    id: of this component itself, for callbacks that use its properties; None: it needs none.
    mode: ``latest`` sets the newest message; ``list`` sets ``{"batch": [...], "n": count}`` with each message once;
    ``append`` adds text, and ``{"reset": true, "text": ...}`` begins anew; ``extendData`` adds points to a graph;
    ``rowTransaction`` changes rows of an AgGrid. None: ``latest``, or what the property asks for.
    path: the part of a message that is used, as ``"a.b"`` or ``["a", "b"]``; a message without it is left out.
    history: messages of before to begin with; None: 1 in mode ``latest``, else all that are kept.
    max_points: of each trace, in mode ``extendData``; None: all. max_chars: of the text, in mode ``append``.
    queue: messages that wait while the component is not on the page; then the oldest are lost. They are 8 MiB at most.
    jitter: seconds over which pages spread what they do after a message, a gap or a recovery, so that not all of them
    ask the server at once.
    presence: whether ``present`` is kept up to date. mark: whether the page shows a mark while it is not connected.
    row_id: the key that tells rows apart, in mode ``rowTransaction``.
    user: whose connection alone may use the token; None: of a topic for one user that user, of any other any.

    Properties that callbacks can use:

    - ``state``: ``connecting``, ``open``, ``recovered`` (back after a break, nothing is missing), ``gap`` (messages are
      lost: fetch the data anew), ``expired`` (the page is too old to come back: load it again), ``refused``.
    - ``gaps``: how many gaps there were.
    - ``present``: ``{"clients": count, "users": count, "list": [{"client", "user", "info"}]}``; ``list`` is None with
      more than 100.

    Raises ValueError for what cannot be meant: a name that is no topic's, a mode that there is not, a limit below 1.
    When it is rendered, KeyFileError if the hub's key cannot be read.
    """

    _namespace = "ws_service"
    _type = "Live"
    # Lists, because Dash declares them so; the form is that of its generated components.
    _base_nodes = ["children"]  # noqa: RUF012
    _children_props = []  # noqa: RUF012
    _valid_wildcard_attributes = []  # noqa: RUF012
    available_wildcard_properties = []  # noqa: RUF012
    _prop_names = available_properties = [  # noqa: RUF012
        *("id", "topic", "into", "prop", "mode", "path", "history", "max_points", "max_chars", "queue", "jitter"),
        *("presence", "mark", "row_id", "token", "rendered", "state", "gaps", "present"),
    ]

    def __init__(
        self,
        topic: str,
        into: str | Mapping[str, str | int | float | bool] | None = None,
        prop: str | None = None,
        mode: str | None = None,
        *,
        id: str | dict[str, Any] | None = None,
        path: str | Sequence[str | int] | None = None,
        history: int | None = None,
        max_points: int | None = None,
        max_chars: int = 100_000,
        queue: int = QUEUE,
        jitter: float = 0,
        presence: bool = False,
        mark: bool = True,
        row_id: str = "id",
        user: str | None = None,
    ) -> None:
        if not is_valid(topic):
            raise ValueError(f"Live: {topic!r} is not the name of a topic: 1 to {MAX_NAME} printable characters")
        if queue < 1 or max_chars < 1 or jitter < 0 or (max_points or 1) < 1 or (history or 0) < 0:
            raise ValueError("Live: queue, max_chars and max_points are 1 at least, history and jitter 0")
        prop, mode = _prop_and_mode(prop, mode)
        given: dict[str, Any] = {
            **{"id": id, "topic": topic, "into": _target(into), "prop": prop, "mode": mode, "path": _path(path)},
            **{"max_points": max_points, "max_chars": max_chars, "queue": queue, "jitter": jitter},
            **{"presence": presence, "mark": mark, "row_id": row_id},
            "history": history if history is not None else 1 if mode == "latest" else queue,
            **{"state": "connecting", "gaps": 0},
        }
        super().__init__(**{name: value for name, value in given.items() if value is not None})  # type: ignore[no-untyped-call, unused-ignore]
        self._user = user if user is not None else _only_user(topic)

    def to_plotly_json(self) -> dict[str, Any]:
        """Return the component as JSON, with a token of this moment: a layout that is kept does not age.

        ``rendered`` differs each time, so that the page can tell a component that was rendered anew.
        """
        rendered: dict[str, Any] = super().to_plotly_json()  # type: ignore[no-untyped-call, unused-ignore]
        props = rendered["props"]
        props |= {"token": sign_topic(props["topic"], self._user), "rendered": secrets.token_hex(4)}
        return rendered


def _prop_and_mode(prop: str | None, mode: str | None) -> tuple[str, str]:
    if mode is None:
        mode = prop if prop in INCREMENTS else "latest"
    if mode not in MODES:
        raise ValueError(f"Live: {mode!r} is not a mode; write one of {', '.join(MODES)}")
    if prop is None:
        prop = mode if mode in INCREMENTS else "children" if mode == "append" else "data"
    if (mode in INCREMENTS or prop in INCREMENTS) and mode != prop:
        raise ValueError(f"Live: the property {prop!r} does not go with the mode {mode!r}")
    return prop, mode


def _target(into: str | Mapping[str, str | int | float | bool] | None) -> str | dict[str, Any] | None:
    if into is None or isinstance(into, str):
        return into
    if not isinstance(into, Mapping) or not all(isinstance(value, str | int | float | bool) for value in into.values()):
        raise ValueError(f"Live: {into!r} is not the id of one component: text, or a dict without ALL and MATCH")
    return dict(into)


def _path(path: str | Sequence[str | int] | None) -> list[str | int] | None:
    if path is None:
        return None
    return [*path.split(".")] if isinstance(path, str) else [*path]


def _only_user(topic: str) -> str | None:
    users = users_of(topic)
    return next(iter(users)) if users is not None and len(users) == 1 else None
