"""A section with settings of every kind, for the tests of the language."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Literal

import pytest
from pydantic import Field

from ws_service.config.addresses import listen_like
from ws_service.config.file import Section
from ws_service.config.units import Duration, Size
from ws_service.errors import ConfigError, Mistake


class Rule(Section):
    path: str
    to: Literal["dash", "ws"] = "ws"


class Limits(Section):
    wait: Duration = 30.0
    body: Annotated[Size, Field(ge=1024)] = 1 << 20


class Example(Section):
    listen: Annotated[str, listen_like("127.0.0.1:8000")] = "127.0.0.1:8000"
    name: str | None = None
    workers: int = 1
    is_loud: bool = False
    handoff: str = "run/ws.sock"
    limits: Limits = Limits()
    rules: tuple[Rule, ...] = ()


Reader = Callable[..., Example]


def mistakes_in(read: Reader, text: str | bytes, env: Mapping[str, str] | None = None) -> list[Mistake]:
    with pytest.raises(ConfigError) as caught:
        read(text, env)
    return caught.value.mistakes
