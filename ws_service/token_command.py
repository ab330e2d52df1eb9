"""The command ``dash-ws-service token``."""

from __future__ import annotations

import os
import time
from pathlib import Path

import click

from ws_service.command_line import MISTAKE, Command, config_option, fail, mistakes_shown
from ws_service.config.file import find, folder_of
from ws_service.config.hub_settings import HubSettings
from ws_service.config.settings import load_settings
from ws_service.config.units import parse_duration
from ws_service.errors import KeyFileError
from ws_service.hub.keys import KEY_VARIABLE, Keys, has_key_file, load_keys
from ws_service.hub.permissions import is_within
from ws_service.hub.tokens import Tokens
from ws_service.hub.topics import Allowed, Namespaces, users_of

NEVER = "never"


@click.command("token", cls=Command)
@click.argument("topic", required=False)
@click.option("--user", default="", help="The user: the only one who may use a token for a topic.")
@click.option("--ttl", default="1h", show_default=True, help="How long it is good: 30s, 5m, 1h, 2d; or never.")
@config_option
@click.pass_context
def token(context: click.Context, topic: str | None, user: str, ttl: str, path: Path | None) -> None:
    """Print a token for TOPIC; without TOPIC, one that names the --user of a connection.

    \b
      dash-ws-service token prices
      curl -N "http://localhost:8000/connection/uni_sse?channels=prices&raw=1&token=$(dash-ws-service token prices)"
      dash-ws-service token --user ada --ttl 8h

    The token alone is printed. It is signed with the hub's key, which the config file names, or which is in
    DASH_WS_HUB_KEY. Exit code 2: a mistake in the command line, in the config file, or no key.
    """
    if topic is None and not user:
        raise click.UsageError("write a topic, or --user for a token of a connection")
    hub, keys = _settings_and_keys(path or context.obj)
    _check(topic, user, hub)
    expires_at = _expiry(ttl)
    tokens = Tokens(keys)
    try:
        if topic is None:
            click.echo(tokens.sign_connection(user, expires_at=expires_at))
        else:
            click.echo(tokens.sign_subscription(topic, user=user, expires_at=expires_at))
    except ValueError as error:
        fail(str(error), MISTAKE)


def _settings_and_keys(path: Path | None) -> tuple[HubSettings, Keys]:
    path, _ = find(path)
    with mistakes_shown(None):
        hub = load_settings(path).hub
    file = folder_of(path) / hub.key
    if (
        path is None and not os.environ.get(KEY_VARIABLE) and not has_key_file(file)
    ):  # a key of no service would be made
        fail(
            f"there is no config.yaml in {Path.cwd()}, and no key: name the service's config file with --config, or "
            f"set {KEY_VARIABLE}",
            MISTAKE,
        )
    try:
        return hub, load_keys(file)
    except KeyFileError as error:
        fail(str(error), MISTAKE)


def _check(topic: str | None, user: str, hub: HubSettings) -> None:
    """Refuse a token that would be of no use."""
    if topic is None:
        return
    if Namespaces.from_settings(hub).of(topic).subscribe is Allowed.NONE:
        fail(f"no client may subscribe to {topic!r}: its namespace has subscribe: none", MISTAKE)
    if not is_within(topic, user):
        names = ", ".join(sorted(users_of(topic) or ()))
        advice = ": give that name with --user" if names else ""
        fail(f"{topic!r} is for {names or 'no user'} alone{advice}", MISTAKE)


def _expiry(ttl: str) -> float | None:
    if ttl == NEVER:
        return None
    try:
        seconds = parse_duration(ttl)
    except ValueError as error:
        fail(f"--ttl: {error}; or {NEVER}", MISTAKE)
    if not seconds:
        fail(f"--ttl: a token that is good for no time is of no use; write 1h, or {NEVER}", MISTAKE)
    return time.time() + seconds
