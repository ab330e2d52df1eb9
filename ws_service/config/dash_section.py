"""The section ``dash_app``: where the demo listens, or a Dash app that reads it."""

from __future__ import annotations

from typing import Annotated

from pydantic import field_validator

from ws_service.config.addresses import listen_like
from ws_service.config.file import Section
from ws_service.config.sections import DASH_LISTEN

NAME = "dash_app"


class DashSection(Section):
    """Where a Dash app listens."""

    listen: Annotated[str, listen_like(DASH_LISTEN)] = DASH_LISTEN
    """The address; ``gateway.upstreams.dash`` must say the same. The app reads it at its start."""

    @field_validator("listen")
    @classmethod
    def _is_for_http(cls, value: str) -> str:
        if value.startswith("unix:"):
            raise ValueError(f"{value!r} is not an address that the demo can listen on; write host:port")
        return value
