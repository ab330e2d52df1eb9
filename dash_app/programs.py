"""What the gateway says of the demo's programs, and restarting them from the page.

A restart is possible only where ``make run`` has started the demo: Procfile.demo sets DASH_APP_RESTARTS, and starts
again what ends. Even there the gateway and Dash must listen on loopback alone, and the demo's own page must ask.
"""

import http.client
import json
import os
import signal
from collections.abc import Mapping
from threading import Timer
from typing import Any
from urllib.parse import urlsplit

from ws_service.config.dash_section import NAME, DashSection
from ws_service.config.file import ConfigFile, find, load
from ws_service.config.sections import GATEWAY_ADMIN

LOCAL = {"127.0.0.1", "::1", "localhost"}


def status() -> dict[str, Any]:
    """Return what is used of the gateway's ``/status``. Raises OSError where it does not answer."""
    path, _ = find(None)
    values = ConfigFile(path, {}).values("gateway", os.environ) if path else {}
    connection = http.client.HTTPConnection(values.get("admin", GATEWAY_ADMIN), timeout=1)
    try:
        connection.request("GET", "/status")
        known = json.loads(connection.getresponse().read())
    except (http.client.HTTPException, ValueError) as error:
        raise OSError(f"the gateway does not answer as it should: {error}") from error
    finally:
        connection.close()
    workers = [worker["pid"] for service in known["services"] for worker in service.get("workers", [])]
    pids = {"gateway": [known["gateway"]["pid"]], "service": workers}
    sockets = known["sockets"]["tunnels"] + known["sockets"]["handed_off"]
    return {"listen": known["gateway"]["listen"], "pids": pids, "sockets": sockets, "topics": known["topics"]["shown"]}


def refusal(headers: Mapping[str, str], listen: list[str]) -> str:
    """Say why a request may not restart anything; empty: it may. listen: the URLs of the gateway and of Dash."""
    if os.environ.get("DASH_APP_RESTARTS") != "1":
        return "Only a demo that make run has started restarts its programs."
    if not listen or not {urlsplit(url).hostname for url in listen} <= LOCAL:
        return "The gateway and Dash do not listen on loopback alone: nothing is restarted from a page."
    fields = {name.lower(): value for name, value in headers.items()}  # Flask and FastAPI write them differently
    asked, origin = urlsplit(f"//{fields.get('host', '')}"), urlsplit(fields.get("origin", ""))
    clients = {address.strip() for address in fields.get("x-forwarded-for", "127.0.0.1").split(",")}  # of the gateway
    if asked.hostname not in LOCAL or origin.netloc != asked.netloc or not clients <= LOCAL:
        return "Only the demo's own page, opened on this machine, restarts its programs."
    return ""


def restart(name: str, headers: Mapping[str, str]) -> str:
    """Stop a program, ``gateway``, ``service`` or ``dash``, as a terminal would; return what is to be said."""
    try:
        known = status()
    except OSError as error:
        return f"Not now: {error}."
    if why := refusal(headers, [*known["listen"], f"http://{load(find(None)[0], NAME, DashSection).listen}"]):
        return why
    for pid in (pids := known["pids"].get(name, [os.getpid()])):
        Timer(0.2, os.kill, (pid, signal.SIGTERM)).start()  # the answer goes out first: Dash is one of them
    return f"Stopping process {', '.join(map(str, pids))}. It comes back by itself."
