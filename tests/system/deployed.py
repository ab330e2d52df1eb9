"""An app as a new user has it, and the files that ``init`` writes for it, on ports that no other test has."""

from __future__ import annotations

import os
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.processes import completed, free_ports

FLASK = """
from dash import Dash, html

app = Dash()
app.layout = [html.Div(children="Hello World")]

if __name__ == "__main__":
    app.run(debug=True)
"""
"""The first script of Dash's tutorial."""

FASTAPI = """
import dash
from dash import html
from fastapi import WebSocket

app = dash.Dash(__name__, backend="fastapi")
app.layout = html.Div("Hello World")


@app.server.websocket("/ws")
async def ws_endpoint(websocket: WebSocket):
    await websocket.accept()
    await websocket.send_json({"msg": "hello"})
    async for text in websocket.iter_text():
        await websocket.send_text(text)


if __name__ == "__main__":
    app.run(debug=True)
"""
"""The script of the README, whose endpoint goes on and answers."""

PATH = f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}"
"""With the programs of the environment that the tests run in."""


@dataclass(frozen=True)
class Deployed:
    """A folder after ``init``. port: for browsers; the others are of the admin listener, Dash and the service."""

    folder: Path
    told: str
    port: int
    admin: int
    dash: int
    ws: int

    @property
    def name(self) -> str:
        return self.folder.name.replace(" ", "-")

    def text(self, path: str) -> str:
        return (self.folder / path).read_text("utf-8")

    def yaml(self, path: str) -> Any:
        return yaml.safe_load(self.text(path))

    def use_own_ports(self, **service: object) -> None:
        """Put this test's ports into the files in which init has the defaults. service: further settings of it."""
        config = self.yaml("config.yaml")
        config["gateway"] |= {
            "admin": f"127.0.0.1:{self.admin}",
            "upstreams": {"dash": f"http://127.0.0.1:{self.dash}", "ws": f"http://127.0.0.1:{self.ws}"},
        }
        config["ws_service"] |= {"listen": f"127.0.0.1:{self.ws}", **service}
        (self.folder / "config.yaml").write_text(yaml.safe_dump(config))
        for path in ("Procfile.all", "Procfile.dev", "deploy/nginx.conf", "deploy/Caddyfile"):
            text = self.text(path).replace("8050", str(self.dash)).replace("127.0.0.1:8000", f"127.0.0.1:{self.port}")
            (self.folder / path).write_text(text)


def deploy(folder: Path, source: str, *words: str, **env: str) -> Deployed:
    """Write an app and run ``init`` on it, as a user does. words: further ones of its command line."""
    folder.mkdir(parents=True)
    (folder / "app.py").write_text(source)
    done = completed("-m", "proxy", "init", folder, *words, cwd=folder.parent, **env)
    assert done.returncode == 0, done.stdout + done.stderr
    return Deployed(folder, done.stdout, *free_ports(4))


def environment(**env: str) -> dict[str, str]:
    """Return what a host sets, and nothing that would tell a program of ours where it is tested."""
    return {"PATH": PATH, "VIRTUAL_ENV": sys.prefix, **env}
