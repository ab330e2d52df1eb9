"""The harness itself, with real processes, in seconds."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from benchmarks import accounting
from benchmarks.processes import Child, Failed, free_port, started
from tests.processes import ROOT

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the benchmarks need Linux's /proc"),
]

ALL_CORES = frozenset(os.sched_getaffinity(0)) if sys.platform.startswith("linux") else frozenset()

LISTEN = "import socket, sys; s = socket.create_server(('127.0.0.1', int(sys.argv[1])), reuse_port=True)"


def benchmarks(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "benchmarks", *arguments]


@pytest.mark.alone
def test_a_quick_round_of_two_proxies_ends_in_tables_and_a_verdict() -> None:
    only = ("--only", "echo-4k", "--only", "get", "--peers", "direct,tunnel,naive,hand-off")
    done = subprocess.run(
        benchmarks("--quick", "--rounds", "1", *only), cwd=ROOT, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    for name in ("direct", "tunnel", "naive"):
        rows = re.findall(rf"^\| {name} +\|(.*)\|$", done.stdout, re.MULTILINE)
        assert len(rows) == 2, done.stdout + done.stderr
        assert "failed" not in "".join(rows)
    assert "round 1 of 1" in done.stderr
    assert "÷ nginx" not in done.stdout, "without nginx there is nothing to judge"


@pytest.mark.alone
def test_a_quick_round_of_the_hub_ends_in_a_table_and_a_verdict() -> None:
    """A thousand subscribers, whose deliveries are all counted and compared."""
    only = ("--only", "fan-out", "--peers", "hub")
    done = subprocess.run(
        benchmarks("--quick", "--rounds", "1", *only), cwd=ROOT, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"^\| hub +\| \d", done.stdout, re.MULTILINE), done.stdout + done.stderr
    assert "hub: KiB of memory per idle subscriber" in done.stdout


def test_an_interrupted_run_leaves_no_process_behind(tmp_path: Path) -> None:
    """Ctrl-C goes to the terminal's foreground group, and the peers are not in it: we stop them."""
    run = subprocess.Popen(
        benchmarks("--only", "echo-100", "--peers", "tunnel,naive", "--rounds", "50"),
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        start_new_session=True,
    )
    with run:
        assert run.stderr is not None
        while "round 1 of 50" not in run.stderr.readline():
            pass
        children = _children(run.pid)
        assert len(children) >= 3  # the two, and the origin
        run.send_signal(signal.SIGTERM)
        run.stderr.read()
        assert run.wait(30) != 0
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]
    assert list(tmp_path.iterdir()) == []


def _children(parent: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(FileNotFoundError, ProcessLookupError):  # a process that has ended meanwhile
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[1]) == parent:
                    found.append(int(entry.name))
    return found


async def test_a_process_that_ends_before_it_listens_is_reported_with_its_end_of_log(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", "raise SystemExit('no such setting')"]
    with pytest.raises(Failed, match=r"x has ended with code 1: no such setting"):
        async with started("x", argv, free_port(), folder=tmp_path, cores=ALL_CORES):
            pass


async def test_a_process_is_stopped_with_its_children_even_if_it_will_not(tmp_path: Path) -> None:
    port = free_port()
    deaf = "import signal, os, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); os.fork()"
    argv = [sys.executable, "-c", f"{deaf}; {LISTEN}; time.sleep(60)", str(port)]
    began = time.monotonic()
    async with started("deaf", argv, port, folder=tmp_path, cores=ALL_CORES) as child:
        assert len(accounting.members(child.session)) == 2
    while accounting.members(child.session):  # the orphan is killed, and reaped by whoever does that here
        assert time.monotonic() < began + 20


def test_a_process_runs_where_it_should(tmp_path: Path) -> None:
    core = frozenset({min(ALL_CORES)})
    child = Child("sleeper", ["sleep", "60"], folder=tmp_path, cores=core)
    try:
        assert os.sched_getaffinity(child.session) == core
        assert os.sched_getaffinity(0) == ALL_CORES
    finally:
        child.stop()


def test_another_checkout_is_measured_beside_this_one() -> None:
    only = ("--only", "events", "--peers", "tunnel,tunnel before", "--before", str(ROOT))
    done = subprocess.run(
        benchmarks("--quick", "--rounds", "1", *only), cwd=ROOT, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    rows = re.findall(r"^\| (tunnel|tunnel before) +\|(.*)\|$", done.stdout, re.MULTILINE)
    assert [name for name, _ in rows] == ["tunnel", "tunnel before"], done.stdout + done.stderr
    assert "failed" not in done.stdout
