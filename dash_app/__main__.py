"""``python -m dash_app``: serve the pages at ``dash_app.listen`` of the config file, on Flask or FastAPI."""

import logging
import signal
import sys

import uvicorn
from werkzeug.serving import make_server

from ws_service.config.addresses import split_port
from ws_service.config.dash_section import NAME, DashSection
from ws_service.config.file import find, load
from ws_service.errors import ConfigError


def main() -> None:
    """Serve until SIGTERM or Ctrl-C; a mistake in the file ends it with 1, a port that is taken with 3 (uvicorn)."""
    path, which = find(None)
    print(f"dash: {which}", file=sys.stderr)
    try:
        listen = load(path, NAME, DashSection).listen
    except ConfigError as error:
        sys.exit(str(error))
    host, port = split_port(listen)
    from dash_app.app import app, introduce  # here, so that a mistake is told before Dash is imported

    # uvicorn shuts down and then raises the signal again for the handlers that were there before it.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    # honcho, which runs the demo, kills what has not ended after 5 s.
    config = uvicorn.Config(
        app.server, host.strip("[]"), int(port or 0), log_level="warning", timeout_graceful_shutdown=1
    )
    listener = config.bind_socket()  # says why it cannot, and ends with 1
    listener.listen()
    introduce()
    print(f"dash ready on http://{host}:{listener.getsockname()[1]}", flush=True)
    if app.backend.server_type == "flask":
        logging.getLogger("werkzeug").setLevel(logging.WARNING)  # the gateway has an access log
        app.server.test_client().get("/_dash-dependencies")  # sets Dash up before threads answer (plotly/dash#3971)
        make_server(config.host, config.port, app.server, threaded=True, fd=listener.fileno()).serve_forever()
    else:
        uvicorn.Server(config).run([listener])


if __name__ == "__main__":
    main()
