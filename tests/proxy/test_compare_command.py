"""``check --compare``: exit codes, and what is said where it cannot run."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from proxy.cli import main
from proxy.doctor.compare import NoDash
from tests.processes import free_port


def check(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["check", "--compare", *words])
    return done.exit_code, done.output


def test_an_address_that_does_not_answer() -> None:
    address = f"127.0.0.1:{free_port()}"
    code, output = check(f"http://{address}/", f"http://{address}/")
    assert code == 2
    assert output == f"{address} cannot be reached: connection refused\n"


@pytest.mark.parametrize("words", [("127.0.0.1:8050", "http://a"), ("http://a", "ws://a"), ("http://a",)])
def test_what_is_no_pair_of_urls(words: tuple[str, ...]) -> None:
    code, output = check(*words)
    assert code == 2
    assert "--compare" in output


def test_what_an_answer_has_in_it_commands_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refused(*_: object, **__: object) -> None:
        raise NoDash("it answers 200 text/\x9b2J\udcff")

    monkeypatch.setattr("proxy.compare_command._compared", refused)
    assert check("http://a", "http://a") == (2, "it answers 200 text/\\x9b2J\\udcff\n")
