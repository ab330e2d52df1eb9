"""What is served where the user's app cannot be, while its author corrects it: the mistake, and nothing else."""

from __future__ import annotations

from starlette.types import Receive, Scope, Send

from ws_service.hosting.hosted_app import empty_lifespan
from ws_service.hosting.not_found import refuse
from ws_service.net.json_response import answer_error

_STATUS = 503


class BrokenApp:
    """An ASGI app in the place of the user's. problem: why that one cannot be served, in a sentence or more."""

    def __init__(self, problem: str) -> None:
        self.problem = problem

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one scope with the problem."""
        if scope["type"] == "lifespan":
            await receive()
            await empty_lifespan(receive, send)
        elif scope["type"] == "http":
            await answer_error(send, _STATUS, self.problem)
        else:
            await refuse(scope, send, f"{self.problem}\n", _STATUS)
