"""The page about the command lines, from click's commands themselves."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

from proxy.cli import main as gateway
from tests.docs.reference.markdown import cell, prose
from ws_service.__main__ import main as service

HEAD = """\
# Command lines

Every command of both programs, with its options. [Operations](../operations.md#the-command-lines) says which config
file is read, and what the exit codes mean.
"""


def page() -> str:
    """Return the page."""
    programs = (("dash-ws-proxy", gateway), ("dash-ws-service", service))
    return "\n".join([HEAD, *(text for name, command in programs for text in _command(name, command, "##"))])


def _command(name: str, command: click.Command, level: str) -> Iterator[str]:
    context = click.Context(command, info_name=name)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    about = "\n\n".join(map(_paragraph, inspect.cleandoc(command.help or "").split("\n\n")))
    yield f"{level} `{name}`\n\n`{usage}`\n\n{about}\n"
    rows = [f"| {', '.join(f'`{each}`' for each in names)} | {about} |" for names, about in _options(command, context)]
    if rows:
        yield "| Option | |\n|---|---|\n" + "\n".join(rows) + "\n"
    if isinstance(command, click.Group):
        for each in command.list_commands(context):
            found = command.get_command(context, each)
            assert found is not None
            yield from _command(f"{name} {each}", found, "###")


def _paragraph(text: str) -> str:
    """Return a paragraph; what click is told not to wrap is lines to type."""
    if text.startswith("\b\n"):
        return f"```sh\n{inspect.cleandoc(text[2:])}\n```"
    return prose(text)


def _options(command: click.Command, context: click.Context) -> Iterator[tuple[list[str], str]]:
    for option in command.get_params(context):
        record = option.get_help_record(context)
        if isinstance(option, click.Option) and record is not None and option.name != "help":
            value = "" if option.is_flag else f" {option.make_metavar(context)}"
            yield (
                [f"{each}{value}".replace("|", "\\|") for each in (*option.opts, *option.secondary_opts)],
                cell(record[1]),
            )
