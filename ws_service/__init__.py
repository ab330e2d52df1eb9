"""The WebSocket service: it hosts the user's own endpoints, and the hub of topics that pages subscribe to.

``from ws_service import publish`` imports nothing of the service. No module of it is imported here, so that a program
that needs one module loads only that one.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ws_service.client import publish
    from ws_service.errors import PublishError

__all__ = ["PublishError", "publish"]

__version__ = "0.1.0"
"""Of the distribution. Dash asks for it where a package has a component (``ws_service.dash``)."""


def __getattr__(name: str) -> Any:
    """Import what programs publish with when it is asked for (PEP 562)."""
    if name == "publish":
        from ws_service.client import publish

        return publish
    if name == "PublishError":
        from ws_service.errors import PublishError

        return PublishError
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
