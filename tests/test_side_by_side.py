"""How the suite is divided between workers, and into levels."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests import side_by_side
from tests.processes import ROOT, free_ports, python

PORTS = "from tests.processes import free_ports; print(*free_ports(30)); input()"


def test_a_file_is_a_unit_of_work_and_so_is_a_test_that_shares_nothing() -> None:
    assert side_by_side.unit_of("tests/proxy/test_config.py::test_a[1::2]") == "tests/proxy/test_config.py"
    alone = "tests/system/test_drain.py::test_a"
    assert side_by_side.unit_of(alone) == alone
    shared = "tests/system/test_http_transparency.py"
    assert side_by_side.unit_of(f"{shared}::test_a") == shared, "it has a gateway for all of its tests"
    assert side_by_side.unit_of("tests/system/test_tls.py::test_a") == "tests/system/test_tls.py"


def test_what_takes_longest_comes_first() -> None:
    system = ("vanished_peers", "handoff_details", "tls", "drain")
    paths = [*(f"tests/system/test_{name}.py" for name in system), "tests/proxy/test_config.py"]
    assert [side_by_side.order(path) for path in paths] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("arguments", [["tests/proxy/test_config.py"], [str(ROOT / "tests" / "proxy" / "test_cli.py")]])
def test_a_short_file_needs_no_workers(arguments: list[str]) -> None:
    assert side_by_side.workers(arguments) == 0


@pytest.mark.parametrize("arguments", [[], ["tests"], ["tests/proxy"], ["tests/a.py", "tests/b.py"]])
def test_everything_else_has_more_workers_than_cores(arguments: list[str]) -> None:
    assert side_by_side.workers(arguments) > 1


def calls_of(monkeypatch: pytest.MonkeyPatch, *codes: int) -> list[list[str]]:
    """Have pytest end with these codes; returns how it will have been called."""
    calls: list[list[str]] = []
    monkeypatch.setattr(subprocess, "call", lambda argv, env: calls.append(argv[3:]) or codes[len(calls) - 1])
    return calls


def test_what_is_alone_runs_after_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = calls_of(monkeypatch, 0, 0)
    assert side_by_side.main(["test", "-x"]) == 0
    assert calls == [["-m", "not alone", "-n", "auto", "--dist", "loadfile", "-x"], ["-m", "alone", "-x"]]


def test_each_pass_says_how_it_ended(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """One file has no tests that must be alone; what pytest says of that last looks as if nothing had run."""
    for codes, results in {(0, 5): ["passed", "no tests of this kind"], (1, 0): ["failed", "passed"]}.items():
        calls_of(monkeypatch, *codes)
        side_by_side.main(["tests/proxy/test_config.py"])
        lines = capsys.readouterr().out.splitlines()
        assert [line.split(": ")[1].split(",")[0] for line in lines] == results


def test_each_test_is_of_one_level(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = calls_of(monkeypatch, *[0] * 6)
    for level in ("unit", "system", "browser"):
        side_by_side.main([level])
    for call in calls[:2]:
        assert [word for word in call if "ignore" in word] == [f"--ignore={folder}" for folder in side_by_side.LONG]
    assert [call[1] for call in calls[::2]] == [
        "(not system and not browser) and not alone",
        "(system and not browser) and not alone",
        "(browser) and not alone",
    ]


@pytest.mark.parametrize(
    ("codes", "code"), [((0, 0), 0), ((1, 0), 1), ((0, 1), 1), ((0, 5), 0), ((5, 0), 0), ((5, 5), 5), ((5, 2), 2)]
)
def test_a_pass_that_selects_no_test_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, codes: tuple[int, int], code: int
) -> None:
    calls_of(monkeypatch, *codes)
    assert side_by_side.main([]) == code


def test_bytecode_is_kept_but_not_beside_sources_where_it_was_not_wanted() -> None:
    assert side_by_side.environment({"A": "1"}) == {"A": "1"}
    env = side_by_side.environment({"A": "1", "PYTHONDONTWRITEBYTECODE": "1"})
    assert env == {"A": "1", "PYTHONPYCACHEPREFIX": f"{sys.prefix}/bytecode"}


@pytest.mark.system
def test_two_processes_never_have_the_same_port() -> None:
    ours = set(free_ports(30))
    other = subprocess.Popen(
        python("-c", PORTS), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=sys.stderr, text=True
    )
    assert other.stdout is not None
    theirs = {int(port) for port in other.stdout.readline().split()}
    other.communicate("\n", timeout=20)
    assert len(theirs) == 30
    assert not ours & theirs


def test_ports_come_again_only_after_all_others() -> None:
    ports = free_ports(80)
    assert len(set(ports)) == 80
