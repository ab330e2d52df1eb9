"""A file that is named without its option is a mistake with what to write, in both programs."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

import proxy.cli
import ws_service.__main__

PROGRAMS = pytest.mark.parametrize("program", [proxy.cli.main, ws_service.__main__.main])


def said(program: click.Group, *words: str) -> str:
    result = CliRunner().invoke(program, words)
    assert result.exit_code == 2
    return result.output


@PROGRAMS
def test_a_file_in_the_place_of_a_command(program: click.Group) -> None:
    output = said(program, "config.yaml")
    assert "No such command 'config.yaml'. A config file is named so: --config config.yaml" in output


@PROGRAMS
def test_a_file_after_a_command(program: click.Group) -> None:
    output = said(program, "check", "conf/app.yml")
    assert "Got unexpected extra argument (conf/app.yml). A config file is named so: --config conf/app.yml" in output


@PROGRAMS
def test_other_words_are_told_as_ever(program: click.Group) -> None:
    assert "No such command 'chek'" in said(program, "chek")
    assert "named so" not in said(program, "--config", "a.yaml", "check", "more")


@PROGRAMS
def test_what_check_is_given_is_checked_and_a_secret_is_not_repeated(program: click.Group) -> None:
    assert "'app.test' is no address of a page; write https://host/" in said(program, "check", "--url", "app.test")
    refused = said(program, "check", "--url", "https://ada:hunter2@app.test/")
    assert "a URL has no user and no password here" in refused and "hunter2" not in refused
    output = said(program, "check", "-H", "Cookie hunter2")
    assert "a header field is written Name: value" in output
    assert "hunter2" not in output
    assert "--live looks at all sections" in said(program, "check", "--live", "--section", "gateway")
