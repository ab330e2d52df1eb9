"""The command ``dash-ws-service publish``."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from ws_service.command_line import MISTAKE, Command, config_option, fail
from ws_service.config.file import CONFIG_VARIABLE
from ws_service.errors import PublishError
from ws_service.hub.publication import Position
from ws_service.logs.formatter import shown
from ws_service.publisher.hub_address import URL_VARIABLE
from ws_service.publisher.publisher import Publisher

NOT_PUBLISHED = 1
"""Exit code: the hub is not reached, or refuses."""

TIMEOUT = 5.0
"""Seconds for one message."""


@click.command("publish", cls=Command)
@click.argument("topic")
@click.argument("data", metavar="JSON")
@config_option
@click.pass_context
def publish(context: click.Context, topic: str, data: str, path: Path | None) -> None:
    """Publish a message to every page that listens to TOPIC.

    \b
      dash-ws-service publish prices '{"AAPL": 189.2}'
      dash-ws-service publish all '"maintenance at six"'
      tail -f log.jsonl | dash-ws-service publish log -

    With - each line of standard input is a message. The config file says where the hub is, or DASH_WS_HUB_URL and
    DASH_WS_HUB_KEY do on another host. Exit code 0: published; 1: the hub is not reached, or refuses; 2: a mistake in
    the command line, the JSON or the config file.
    """
    publisher = Publisher(_environment(path or context.obj))
    try:
        if data == "-":
            _publish_lines(publisher, topic, sys.stdin)
        else:
            position = _publish(publisher, topic, _read(data), "")
            click.echo(json.dumps({} if position is None else {"offset": position.offset, "epoch": position.epoch}))
    finally:
        publisher.close()


def _environment(path: Path | None) -> Mapping[str, str]:
    """Return the environment in which the hub is looked for. path: what ``--config`` says, which comes first."""
    if path is None:
        return os.environ
    return {name: value for name, value in os.environ.items() if name != URL_VARIABLE} | {CONFIG_VARIABLE: str(path)}


def _publish_lines(publisher: Publisher, topic: str, lines: Iterable[str]) -> None:
    published = 0
    for number, line in enumerate(lines, 1):
        if line.strip():
            place = f"line {number} (the {published} before it are published): " if published else f"line {number}: "
            _publish(publisher, topic, _read(line, place), place)
            published += 1
    click.echo(f"published {published}", err=True)


def _publish(publisher: Publisher, topic: str, data: Any, place: str) -> Position | None:
    try:
        return publisher.publish(topic, data, raise_errors=True, idempotency_key=None, timeout=TIMEOUT)
    except PublishError as error:
        fail(f"{place}{error}", NOT_PUBLISHED)
    except (TypeError, ValueError) as error:
        fail(f"{place}{error}", MISTAKE)


def _read(text: str, place: str = "") -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = (
            f"{error.msg} at character {error.colno}" if isinstance(error, json.JSONDecodeError) else "nested deeply"
        )
        fail(f"{place}{shown(text.strip())} is not JSON ({reason}); a text needs quotes: '\"text\"'", MISTAKE)
