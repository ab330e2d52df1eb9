"""The interface between a client's connection and the gateway."""

from __future__ import annotations

import inspect

import pytest

from proxy.gateway.handler import Gateway
from proxy.http1.request_handler import RequestHandler

METHODS = [name for name, _ in inspect.getmembers(RequestHandler, inspect.isfunction) if not name.startswith("_")]


@pytest.mark.parametrize("name", METHODS)
def test_the_gateway_has_each_method_of_the_interface(name: str) -> None:
    declared, implemented = getattr(RequestHandler, name), getattr(Gateway, name)
    assert inspect.iscoroutinefunction(declared) == inspect.iscoroutinefunction(implemented)
    assert len(inspect.signature(declared).parameters) == len(inspect.signature(implemented).parameters)


def test_the_interface_is_small() -> None:
    assert METHODS == ["handle", "lease_buffer", "offer_simple", "refuse"]
