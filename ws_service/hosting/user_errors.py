"""Exceptions of the user's code, for the operator: one sentence, and a traceback that begins in that code."""

from __future__ import annotations

import traceback
from types import TracebackType

_CALLERS = ("ws_service", "importlib", "starlette", "fastapi", "contextlib")
"""Packages whose frames lead a traceback before the user's code begins."""


def described(error: BaseException) -> str:
    """Return an exception in one line: its type, and its text if it has one."""
    if isinstance(error, SystemExit):
        return f"it ended in sys.exit({error.code!r})"
    text = str(error).strip()
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def explain(error: Exception) -> str:
    """Return the sentence for the operator, followed by the traceback of the user's module."""
    return f"{error}\n{user_traceback(error.__cause__)}".rstrip() if error.__cause__ else str(error)


def user_traceback(error: BaseException | None) -> str:
    """Return a traceback without the frames of the service and of the frameworks; empty for None."""
    if error is None:
        return ""
    frames = _user_frames(error.__traceback__)
    if frames is None and not isinstance(error, SyntaxError):  # that one names its own place
        frames = error.__traceback__
    return "".join(traceback.format_exception(type(error), error, frames)).rstrip()


def _user_frames(frames: TracebackType | None) -> TracebackType | None:
    while frames is not None and frames.tb_frame.f_globals.get("__name__", "").partition(".")[0] in _CALLERS:
        frames = frames.tb_next
    return frames
