"""``python -m tests.examples.centrifugos_place --config centrifugo.json``: takes Centrifugo's place in the tests.

No registry that the tests use has a Centrifugo. This reads the same file and the same variables, fails for an option
that it does not know, and serves them with the hub, which speaks the same protocol. What it cannot show: that
Centrifugo itself takes the file. The names of the options were compared with its source (internal/configtypes, July
2026).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

RECOVERY = {"cache": {"force_recovery_mode": "cache", "auto_cache_recover": True}, "stream": {}}
"""What a setting of the hub needs of Centrifugo, besides ``force_recovery``."""

NEEDED = {
    "force_recovery": True,
    "allow_history_for_subscriber": True,  # the page asks for history ...
    "allow_history_for_anonymous": True,  # ... over a connection without a user
    "allow_user_limited_channels": True,  # user:#ada
}
"""What ``Live`` needs of each namespace: hasAccessToHistory in internal/client/handler.go of Centrifugo."""


def topic_settings(options: dict[str, Any]) -> dict[str, Any]:
    """Return the hub's settings of a namespace that are the same as Centrifugo's."""
    left = {**options}
    found = {"history": left.pop("history_size"), "ttl": left.pop("history_ttl")}
    found["recovery"] = left.get("force_recovery_mode", "stream")
    assert left == {**NEEDED, **RECOVERY[found["recovery"]]}, left
    return found


def settings(config: dict[str, Any], env: dict[str, str]) -> dict[str, Any]:
    """Return what config.yaml says where Centrifugo's file and variables say this."""
    listen = f"{config['http_server'].pop('address')}:{env['CENTRIFUGO_HTTP_SERVER_PORT']}"
    client, channel = config.pop("client"), config.pop("channel")
    assert config == {"http_server": {}, "uni_sse": {"enabled": True}}, config
    assert client.pop("allow_anonymous_connect_without_token") is True
    assert list(client) == ["allowed_origins"] and list(channel) == ["without_namespace"]
    hub = {"api_key": env["CENTRIFUGO_HTTP_API_KEY"], "default": topic_settings(channel["without_namespace"])}
    return {"ws_service": {"listen": listen, "handoff": "off", "hub": hub}}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True)
    given = json.loads(parser.parse_args().config.read_text("utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        path.write_text(json.dumps(settings(given, dict(os.environ))))  # JSON is YAML
        key = os.environ["CENTRIFUGO_CLIENT_TOKEN_HMAC_SECRET_KEY"]
        os.chdir(folder)
        os.environ["DASH_WS_HUB_KEY"] = key
        sys.argv = ["dash-ws-service", "--config", str(path)]
        from ws_service.__main__ import main

        main()
