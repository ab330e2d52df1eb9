"""While the user's module is imported, it must not start a server, and an import that takes long is logged.

``app.run()`` outside of ``if __name__ == "__main__":`` would never return: Dash and Flask in debug mode start the
program again in a process of its own, which imports the module again, and so on.
"""

from __future__ import annotations

import importlib.util
import logging
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import FrameType
from typing import Any

log = logging.getLogger(__name__)

STARTERS = {
    "dash": ("Dash.run",),
    "flask": ("Flask.run",),
    "quart": ("Quart.run",),
    "uvicorn": ("run", "Server.run"),
    "waitress": ("serve",),
}
"""Functions that serve until they are stopped, by the package that has them as public names."""

SLOW = 10.0
"""Seconds after which the log says at which line an import is; large libraries take 2 s from a cold disk."""


class ServesAtImport(BaseException):
    """The module starts a server. Not an ``Exception``, because modules catch those."""

    def __init__(self, what: str, caller: traceback.FrameSummary) -> None:
        super().__init__(f"{what} at {caller.filename}:{caller.lineno}")


@contextmanager
def guarded_import(name: str, folder: Path, slow: float = SLOW) -> Iterator[None]:
    """Refuse servers while a module is imported, in this thread, for the length of a ``with`` block.

    name: of the module. folder: where the user's own files are. slow: in seconds, see ``SLOW``.

    Raises ServesAtImport from the call that starts a server. In other threads the module may start servers.
    """
    timer = threading.Timer(slow, _log_where, (name, folder.resolve(), slow, threading.get_ident()))
    timer.name, timer.daemon = "slow import", True
    refusal = _Refusal(threading.get_ident())
    sys.meta_path.insert(0, refusal)
    try:
        for package in [package for package in STARTERS if package in sys.modules]:
            refusal.apply(package)
        timer.start()
        yield
    finally:
        timer.cancel()
        sys.meta_path.remove(refusal)
        refusal.restore()


class _Refusal:
    """A finder that finds no module: it notes which packages are imported, and replaces their functions that serve."""

    def __init__(self, thread: int) -> None:
        self._thread = thread
        self._expected = set(STARTERS)
        self._replaced: list[tuple[Any, str, Any]] = []

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Find a package as Python does, and replace its functions once it has been imported."""
        if name not in self._expected:
            return None
        self._expected.remove(name)
        spec = importlib.util.find_spec(name)
        loader: Any = spec.loader if spec is not None else None

        def executed(module: Any) -> None:
            del loader.exec_module  # once is enough: a reload of the package is not replaced
            loader.exec_module(module)
            self.apply(name)

        with suppress(AttributeError):  # a loader that takes no attribute: the package stays as it is
            loader.exec_module = executed
        return spec

    def apply(self, package: str) -> None:
        """Replace the functions that serve in a package that is imported."""
        self._expected.discard(package)
        for dotted in STARTERS[package]:
            owner: Any = sys.modules[package]
            *steps, attribute = dotted.split(".")
            for step in steps:
                owner = getattr(owner, step, None)
            original = vars(owner).get(attribute) if owner is not None else None
            if callable(original):
                setattr(owner, attribute, self._refuse(dotted if steps else f"{package}.{dotted}", original))
                self._replaced.append((owner, attribute, original))

    def restore(self) -> None:
        """Put back what was replaced."""
        while self._replaced:
            setattr(*self._replaced.pop())

    def _refuse(self, what: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def refuse(*args: Any, **kwargs: Any) -> Any:
            if threading.get_ident() != self._thread:
                return original(*args, **kwargs)
            raise ServesAtImport(what, traceback.extract_stack(limit=2)[0])

        return refuse


def _log_where(name: str, folder: Path, slow: float, thread: int) -> None:
    frame: FrameType | None = sys._current_frames().get(thread)
    place = ""
    while frame is not None and not place:
        file = frame.f_code.co_filename
        if Path(file).is_relative_to(folder) and "site-packages" not in file:
            place = f", at {file}:{frame.f_lineno}"
        frame = frame.f_back
    log.warning(
        "still importing %s after %g s%s; what waits, or serves, belongs under if __name__ == %r:",
        *(name, slow, place, "__main__"),
    )
