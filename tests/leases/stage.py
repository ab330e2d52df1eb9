"""The awaits of a run, in order, and the one of them at which something happens.

A task of ours is a coroutine that the event loop drives with ``send`` and ``throw``. ``Watched`` stands between the
two, so it knows of each suspension: which task, which one of it, what it waits for and where. A run without a
disturbance makes the list; then the run is made again for each of them.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import Counter
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import CodeType
from typing import Any

from tests.processes import ROOT

OURS = (str(ROOT / "proxy"), str(ROOT / "ws_service"))
SERVED_BY = ("aiohttp/web_protocol.py", "uvicorn/protocols", "uvicorn/server.py")
"""Tasks whose code is there are ours too, in that they run our code."""

NO_EXCHANGE = ("HealthCheck._run", "Registry._tell_all")
"""Tasks that belong to no exchange: they live as long as the process, and only its end cancels them."""


@dataclass(frozen=True, order=True)
class Await:
    """One suspension: the n-th of the k-th task of a kind. Number 0 is before its first step. Steps of a peer too."""

    role: str
    number: int

    @property
    def kind(self) -> str:
        """The kind of task."""
        return self.role.partition("#")[0]

    def __str__(self) -> str:
        return f"{self.role} await {self.number}"


Action = Callable[["Stage", "Watched | None", Any], None]
"""What happens at an await. It is told the coroutine that waits (None: a step of a peer), and the future."""


@dataclass
class Run:
    """What was seen of one run."""

    awaits: dict[Await, str] = field(default_factory=dict)
    """Where each was: file and line, the innermost of ours first."""
    cancellable: set[Await] = field(default_factory=set)
    disturbed: bool = False
    suspended_again: bool = False
    """Whether the task that was cancelled waited once more on its way out."""


class Stage:
    """Where a run is played. One for each event loop."""

    def __init__(self) -> None:
        self.run = Run()
        self.is_on = False
        self.activity = 0
        self.disturbed = asyncio.Event()
        self.cancels_again = False
        self._target: Await | None = None
        self._action: Action | None = None
        self._victim: Watched | None = None
        self._roles: Counter[str] = Counter()
        self._numbers: Counter[str] = Counter()

    @contextmanager
    def playing(self, target: Await | None, action: Action | None, *, cancels_again: bool = False) -> Iterator[Run]:
        """Count awaits, and act at one of them. target: None disturbs nothing."""
        self.run = Run()
        self._target, self._action, self._victim = target, action, None
        self.cancels_again = cancels_again
        self._roles.clear()
        self._numbers.clear()
        self.disturbed = asyncio.Event()
        self.is_on = True
        try:
            yield self.run
        finally:
            self.is_on = False
            self._action = self._victim = None  # they hold the play, and with it all that it was about

    def role(self, name: str) -> str:
        """Return the role of one more task, or peer, of a kind."""
        self._roles[name] += 1
        return f"{name}#{self._roles[name]}"

    def step(self, role: str, where: str) -> None:
        """Note a step of a peer."""
        self._note(role, where, None, None)

    def waits(self, coro: Watched, future: Any) -> None:
        """Note that a task has been suspended; it is still the one that runs."""
        self.activity += 1
        if not self.is_on or not coro.role:
            return
        if coro is self._victim:
            self.run.suspended_again = True
            if self.cancels_again:
                self.cancels_again = False
                asyncio.get_running_loop().call_soon(coro.cancel)
            return
        self._note(coro.role, coro, coro, future)

    def is_born(self, coro: Watched) -> None:
        """Note a new task that has not made its first step."""
        if self.is_on and coro.role and coro.is_cancellable:
            self._note(coro.role, "before its first step", coro, None, number=0)

    def _note(self, role: str, where: str | Watched, coro: Watched | None, future: Any, number: int = -1) -> None:
        if not self.is_on:
            return
        if number < 0:
            self._numbers[role] += 1
            number = self._numbers[role]
        key = Await(role, number)
        self.run.awaits[key] = where if isinstance(where, str) else where.where()
        if coro is not None and coro.is_cancellable:
            self.run.cancellable.add(key)
        if key == self._target and not self.run.disturbed:
            self.run.disturbed = True
            self.disturbed.set()
            assert self._action is not None
            if coro is not None:
                self._victim = coro
            self._action(self, coro, future)

    # -- how tasks come under watch

    def factory(self, loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Future[Any]:
        """Make a task; the loop's task factory."""
        if not isinstance(coro, Watched) and (role := role_of(coro)):
            coro = Watched(coro, self, role)
        context = options.pop("context", None)
        if context is None:
            context = contextvars.copy_context()
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=loop, context=context, **options)
        if isinstance(coro, Watched):
            coro.task = task
            if not coro.has_begun:
                self.is_born(coro)
        return task


class Watched(Coroutine[Any, Any, Any]):
    """A coroutine whose suspensions are seen."""

    def __init__(self, inner: Coroutine[Any, Any, Any], stage: Stage, name: str) -> None:
        self.inner = inner
        self._stage = stage
        self.is_cancellable = name not in NO_EXCHANGE
        self.role = stage.role(name) if stage.is_on else ""
        self.task: asyncio.Task[Any] | None = None
        self.has_begun = False
        self.__name__ = getattr(inner, "__name__", "coroutine")
        self.__qualname__ = getattr(inner, "__qualname__", self.__name__)

    # What tracebacks and the names of tasks look at.
    cr_code = property(lambda self: self.inner.cr_code)
    cr_frame = property(lambda self: self.inner.cr_frame)
    cr_running = property(lambda self: self.inner.cr_running)
    cr_await = property(lambda self: self.inner.cr_await)

    def send(self, value: Any) -> Any:
        self._begin()
        return self._suspended(self.inner.send(value))

    def throw(self, *error: Any) -> Any:
        self._begin()
        return self._suspended(self.inner.throw(error[0] if len(error) == 1 else error[1] or error[0]))

    def close(self) -> None:
        self.inner.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self.inner.__await__()

    def cancel(self) -> None:
        """Cancel its task."""
        if self.task is not None:
            self.task.cancel()

    def _begin(self) -> None:
        self.has_begun = True
        if self.task is None:
            self.task = asyncio.current_task()

    def _suspended(self, future: Any) -> Any:
        self._stage.waits(self, future)
        return future

    def where(self) -> str:
        """Return the lines at which it waits: the innermost line of ours, and the innermost of all."""
        lines: list[tuple[bool, str]] = []
        each: Any = self.inner
        while each is not None:
            code = getattr(each, "cr_code", None)
            frame = getattr(each, "cr_frame", None)
            if code is not None and frame is not None:
                lines.append((_is_ours(code), f"{_short(code.co_filename)}:{frame.f_lineno}"))
            each = getattr(each, "cr_await", None)
        ours = [line for is_ours, line in lines if is_ours]
        innermost = lines[-1][1] if lines else "?"
        return innermost if not ours else ours[-1] if ours[-1] == innermost else f"{ours[-1]} ({innermost})"


def role_of(coro: Any) -> str:
    """Return the kind of a task, or nothing where it is none of ours."""
    code = getattr(coro, "cr_code", None)
    if code is None:
        return ""
    served = any(part in code.co_filename for part in SERVED_BY)
    return str(code.co_qualname) if served or _is_ours(code) else ""


def watched_method(stage: Stage, method: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Any]:
    """Return a method whose coroutines are under watch, for those who make tasks past the loop's factory.

    From 3.12 on aiohttp calls ``asyncio.Task`` itself, for its eager start.
    """

    def watched(*args: Any, **options: Any) -> Watched:
        coro = method(*args, **options)
        return Watched(coro, stage, role_of(coro))

    return watched


def _is_ours(code: CodeType) -> bool:
    return code.co_filename.startswith(OURS)


@lru_cache
def _short(path: str) -> str:
    return "/".join(Path(path).parts[-3:])
