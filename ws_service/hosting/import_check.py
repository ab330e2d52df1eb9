"""Whether the app that ``ws_service.app`` names can be served: it is imported as in the service, in a child process.

What an import may do, the process of ``check`` must not: print, wait, listen, end.
"""

from __future__ import annotations

from pathlib import Path

from ws_service.hosting import child


def problem(name: str, folder: Path, deadline: float = child.DEADLINE) -> str | None:
    """Import ``module:attr``; return what is wrong with it, as the service would say it, or None.

    name: the checked value of ``ws_service.app``. folder: where the module is looked for first.
    deadline: in seconds, after which the process is ended.
    """
    answer = child.call("ws_service.hosting.import_check:load", name, str(folder), deadline=deadline)
    if answer.failure is None:
        found: str | None = answer.value
        return found
    advice = 'put what waits, serves or ends the program under if __name__ == "__main__":'
    return "\n".join([f"is {name}, but importing it {answer.failure}; {advice}", *answer.printed])


def load(name: str, folder: str) -> str | None:
    """Import the app in this process; return what is wrong with it, or None."""
    from ws_service.errors import AppError
    from ws_service.hosting import loader  # here: the parent process needs no FastAPI
    from ws_service.hosting.user_errors import explain

    try:
        loader.load(name, Path(folder))
    except AppError as error:
        return explain(error).removeprefix("ws_service.app ")[: child.LONGEST]
    return None
