"""The check for private names of aiohttp: each way to use one is found, and the public interface is not."""

from __future__ import annotations

import pytest

from tests.checks.private_names import findings


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("from aiohttp.web_protocol import RequestHandler", "aiohttp.web_protocol is not documented"),
        ("from aiohttp import http_parser", "aiohttp.http_parser is not documented"),
        ("from aiohttp.http_exceptions import BadHttpMessage", "aiohttp.http_exceptions is not documented"),
        ("from aiohttp import streams, web", "aiohttp.streams is not documented"),
        ("from aiohttp.web import _run_app", "aiohttp.web._run_app is not documented"),
        ("import aiohttp.web_protocol", "aiohttp.web_protocol is not documented"),
        ("import aiohttp.web_log as log", "aiohttp.web_log is not documented"),
        ("import aiohttp\naiohttp.http_parser.HttpRequestParserPy", "aiohttp.http_parser is not documented"),
        ("from aiohttp import web\nweb.web_protocol", "aiohttp.web.web_protocol is not documented"),
        ("from aiohttp import web\nx: web.Request\nx._payload", "x._payload is a private name of another object"),
        ("from aiohttp import web\nsuper()._wake()", "super()._wake is a private name of another object"),
        ("from aiohttp import web\ngetattr(x, '_payload')", "takes a private name of another object"),
        (
            "from aiohttp import web\nclass S(web.Server):\n def f(self): return self._connections",
            "S._connections is a private name of Server",
        ),
        (
            "from aiohttp import web\nclass S(web.Server): pass\nclass T(S):\n def f(self): self._connections = {}",
            "T._connections is a private name of Server",
        ),
        (
            "from aiohttp.web import RequestHandler\nclass H(RequestHandler):\n def _process_keepalive(self): pass",
            "H._process_keepalive is a private name of RequestHandler",
        ),
    ],
)
def test_a_private_name_is_found(source: str, what: str) -> None:
    assert any(what in found for _, found in findings(source)), findings(source)


@pytest.mark.parametrize(
    "source",
    [
        "from aiohttp import web\nserver = web.Server(handler)\nrequest: web.BaseRequest\nrequest.transport",
        "import aiohttp\nfrom aiohttp import StreamReader, hdrs\nhdrs.CONNECTION",
        "from aiohttp.abc import AbstractAccessLogger\nclass A(AbstractAccessLogger):\n def log(self): self._mine = 1",
        "from aiohttp import web\nclass H:\n def f(self): return self._payload, web.__name__",
        "import asyncio\nx._anything",
    ],
)
def test_the_public_interface_and_ones_own_names_are_not(source: str) -> None:
    assert findings(source) == []
