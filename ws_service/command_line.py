"""What the command lines of both programs have in common: the config file, and what is said where it is misplaced."""

from __future__ import annotations

from pathlib import Path

import click

config_option = click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    help="The config file. Without it: config.yaml of the working directory, or every default where there is none.",
)


class Command(click.Command):
    """A command that says what to write when it is given a file without ``--config``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse what stands after the command. Raises UsageError."""
        words = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            raise _advised(error, words) from None


class Commands(click.Group):
    """A program with commands, which says the same."""

    command_class = Command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is asked for. Raises UsageError."""
        words = list(args)
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            raise _advised(error, words) from None


def _advised(error: click.UsageError, words: list[str]) -> click.UsageError:
    file = next((word for word in words if word.endswith((".yaml", ".yml")) and "--config" not in words), None)
    if file is None:
        return error
    message = error.message.rstrip(".")
    return click.UsageError(f"{message}. A config file is named so: --config {file}", error.ctx)
