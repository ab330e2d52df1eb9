"""A ws service of whatever ASGI app: ``python -m tests.system.serve_app module:app PORT SOCKET`` (SOCKET may be off).

The service itself hosts the WebSocket endpoints of FastAPI and Starlette
apps. What a connection looks like from inside is easier to ask with a bare
app, which may answer HTTP too.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

from ws_service import server
from ws_service.config.settings import Settings
from ws_service.logs.service_log import service_log


def main(name: str, port: str, handoff: str) -> None:
    module, _, attribute = name.partition(":")
    settings = Settings(listen=f"127.0.0.1:{port}", handoff=handoff)
    with service_log():
        bound = server.bind(settings.listen, Path())
        claim = server.claim(settings, Path())
        server.run(getattr(import_module(module), attribute), settings, bound.sockets, claim=claim)


if __name__ == "__main__":
    main(*sys.argv[1:])
