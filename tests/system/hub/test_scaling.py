"""The hub is replaced by another one with the same protocol: what docs/scaling.md says, as it is written there."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import jwt
import pytest
from click.testing import CliRunner

from proxy.cli import main
from tests.docs.blocks import blocks
from ws_service.hub.keys import load_keys
from ws_service.hub.tokens import Tokens


def block(language: str, holding: str) -> str:
    """Return what the document has in a language, with a text in it."""
    (only,) = [one for one in blocks("docs/scaling.md", language) if holding in one]
    return only


@pytest.mark.parametrize(
    ("url", "way"),
    [
        ("ws://localhost/connection/websocket", "tunnel to ws at http://centrifugo.lan:8000"),
        ("ws://localhost/app/connection/websocket", "tunnel to ws at http://centrifugo.lan:8000"),
        ("http://localhost/connection/uni_sse?cf_connect=1", "forward to ws at http://centrifugo.lan:8000"),
        ("http://localhost/api/publish", "forward to dash at http://127.0.0.1:8050"),
        ("ws://localhost/_dash-ws-callback", "tunnel to dash at http://127.0.0.1:8050"),
        ("ws://localhost/live", "tunnel to dash at http://127.0.0.1:8050"),
        ("http://localhost/", "forward to dash at http://127.0.0.1:8050"),
    ],
)
def test_the_gateway_sends_the_paths_of_the_hub_to_it_and_no_others(tmp_path: Path, url: str, way: str) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(block("yaml", "centrifugo.lan"))
    said = CliRunner().invoke(main, ["explain", url, "--config", str(config)], catch_exceptions=False)
    assert said.exit_code == 0 and said.stdout.startswith(way), said.output


def test_its_secrets_are_those_of_the_hub(tmp_path: Path) -> None:
    keys = load_keys(tmp_path / "run" / "hub.key", {})
    names = ("CENTRIFUGO_CLIENT_TOKEN_HMAC_SECRET_KEY", "CENTRIFUGO_HTTP_API_KEY")
    script = block("sh", "CENTRIFUGO") + "".join(f'\necho "${name}"' for name in names)
    done = subprocess.run(["sh", "-ec", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    secret, api_key = done.stdout.splitlines()
    assert api_key == keys.api_keys[0]
    token = Tokens(keys).sign_subscription("prices", user="ada", expires_at=None)
    claims = jwt.decode(token, secret, algorithms=["HS256"])
    assert (claims["channel"], claims["sub"]) == ("prices", "ada")


def test_its_paths_and_options_are_those_of_the_hub() -> None:
    config = json.loads(block("json", "handler_prefix"))
    assert config["websocket"]["handler_prefix"] == "/connection/websocket"
    assert config["uni_sse"] == {"enabled": True, "handler_prefix": "/connection/uni_sse"}
    default = config["channel"]["without_namespace"]
    assert (default["history_size"], default["history_ttl"], default["force_recovery_mode"]) == (100, "300s", "cache")


def test_each_namespace_of_it_lets_a_page_read_history() -> None:
    """Centrifugo answers 103 otherwise, and ``Live`` begins with history and asks for what is missing."""
    channel = json.loads(block("json", "handler_prefix"))["channel"]
    for options in (channel["without_namespace"], *channel["namespaces"]):
        assert options["allow_history_for_subscriber"] and options["allow_history_for_anonymous"]
