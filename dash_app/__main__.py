"""``python -m dash_app``: serve the demo alone, at ``dash_app.listen`` of the config file."""

from __future__ import annotations

import argparse
import os
import re
import signal
import socket
import sys
from pathlib import Path

import uvicorn
import yaml

DEFAULT_CONFIG = Path("config.yaml")
DEFAULT_LISTEN = "127.0.0.1:8050"

_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")
"""``${NAME}`` and ``${NAME:-default}``, as in the other sections."""

STOP_WITHIN = 1
"""Seconds for requests in flight at a stop. honcho, which runs the demo in development, kills after 5."""


class ConfigError(Exception):
    """The config file cannot be used; the message is a sentence for its author."""


def find(path: Path | None) -> tuple[Path | None, str]:
    """Return the config file to read, None where there is none, and the sentence that says so; none for a named one.

    path: what ``--config`` says. None: what DASH_WS_PROXY_CONFIG names, as for the other programs, else
    ``config.yaml`` of the working directory if there is one.
    """
    if path is not None:
        return path, ""
    if named := os.environ.get("DASH_WS_PROXY_CONFIG"):
        return Path(named), f"using {named}, which DASH_WS_PROXY_CONFIG names"
    if os.path.lexists(DEFAULT_CONFIG):
        return DEFAULT_CONFIG, f"using {DEFAULT_CONFIG} in {Path.cwd()}"
    return None, f"there is no {DEFAULT_CONFIG} in {Path.cwd()}; running on the defaults"


def read_listen(path: Path | None) -> str:
    """Return ``dash_app.listen`` of a config file, or its default; the other sections belong to other programs.

    path: the file; None means every default.

    Raises ConfigError.
    """
    if path is None:
        return DEFAULT_LISTEN
    try:
        document = yaml.safe_load(path.read_text("utf-8-sig"))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        raise ConfigError(f"{where}: is not valid YAML; dash-ws-proxy check --config {path} says why") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8 text; save it as UTF-8") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: is not valid YAML: {error}") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    if document is not None and not isinstance(document, dict):
        raise ConfigError(f"{path}: holds {document!r:.60}; expected sections, one of them dash_app")
    section = (document or {}).get("dash_app")
    if section is None:
        return DEFAULT_LISTEN
    if not isinstance(section, dict):
        raise ConfigError(f"{path}: dash_app: expected settings (key: value), got {section!r:.60}")
    for key in section:
        if key != "listen":
            raise ConfigError(f"{path}: dash_app.{key}: is not a setting; known here: listen")
    listen = section.get("listen", DEFAULT_LISTEN)
    if isinstance(listen, str):
        listen = _VARIABLE.sub(lambda match: os.environ.get(match[1]) or match[2] or "", listen)
    try:
        split_listen(listen)
    except ValueError as error:
        raise ConfigError(f"{path}: dash_app.listen: {error}") from None
    return str(listen)


def split_listen(listen: object) -> tuple[str, int]:
    """Split ``host:port`` or ``[v6]:port``; ValueError with a sentence for anything else."""
    host, _, port = listen.rpartition(":") if isinstance(listen, str) else ("", "", "")
    bracketed = host.startswith("[") and host.endswith("]")
    if not host or (":" in host and not bracketed) or not (port.isascii() and port.isdigit()):
        raise ValueError(f"{listen!r:.60} is not an address; write host:port, for example {DEFAULT_LISTEN}")
    if not 0 <= int(port) <= 65535:
        raise ValueError(f"port {port} is out of range (1 to 65535)")
    try:
        host.encode("idna")
    except UnicodeError:
        raise ValueError(f"{host!r:.60} is not the name of a host") from None
    return host.strip("[]"), int(port)


class Server(uvicorn.Server):
    """uvicorn, with one line on standard output when it is ready."""

    def __init__(self, config: uvicorn.Config, listen: str) -> None:
        super().__init__(config)
        self._listen = listen

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then print the line that people and tests wait for."""
        await super().startup(sockets)
        if not self.should_exit:
            print(f"dash ready on http://{self._listen}", flush=True)


def main(argv: list[str] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C; return the exit code: 1 for a port that is taken, 2 for a mistake.

    The address comes from the file alone. PORT in the environment is
    ignored: honcho sets it for every process, to numbers of its own.
    """
    parser = argparse.ArgumentParser(prog="python -m dash_app", description="Serve the demo alone.")
    parser.add_argument("--config", type=Path, metavar="FILE", help="default: ./config.yaml if there is one")
    try:
        path, which = find(parser.parse_args(argv).config)
        if which:
            print(f"dash: {which}", file=sys.stderr)
        listen = read_listen(path)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    # uvicorn shuts down and then raises the signal again for the handlers that were there before it.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    host, port = split_listen(listen)
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        # create_server repeats the address in strerror; the system's own message is enough.
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        print(f"dash: cannot listen on {listen}: {reason}", file=sys.stderr)
        return 1

    from dash_app.app import (
        app,
    )  # here, so that a mistake above is told at once and not after a second of Dash

    config = uvicorn.Config(app.server, log_level="warning", timeout_graceful_shutdown=STOP_WITHIN)
    with listener:
        # Port 0 is one that is free.
        Server(config, f"{listen.rpartition(':')[0]}:{listener.getsockname()[1]}").run(sockets=[listener])
    return 0


if __name__ == "__main__":
    sys.exit(main())
