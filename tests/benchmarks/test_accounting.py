"""The kernel's books: read right, in nanoseconds, and with children that are gone."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from benchmarks import accounting

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads Linux's /proc"),
]

BURN = "import time\nwhile time.process_time() < {seconds}: pass\n"


@contextmanager
def session(program: str) -> Iterator[int]:
    """Run a program that says a word when it is where it should be, in a session of its own."""
    process = subprocess.Popen(
        [sys.executable, "-c", program + "\nprint('here', flush=True)\nopen(0).read()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    with process:
        assert process.stdout is not None and process.stdin is not None
        assert process.stdout.readline() == b"here\n"
        yield process.pid
        process.stdin.close()


def test_a_name_may_hold_parentheses_and_spaces() -> None:
    text = "42 (tmux: server) (1)) S 1 41 40 " + " ".join(map(str, range(7, 60)))
    stat = accounting.parse_stat(text)
    assert stat.session == 40
    assert stat.ended_children == (16 + 17) * accounting.TICK  # fields 16 and 17 of proc(5)


def test_pss_is_found_among_its_parts() -> None:
    assert accounting.parse_pss("0-1 ---p [rollup]\nRss: 900 kB\nPss:     123 kB\nPss_Dirty: 40 kB\n") == 123
    assert accounting.parse_pss("") == 0


def test_cpu_time_is_finer_than_a_tick() -> None:
    with session(BURN.format(seconds=0.1)) as number:
        assert 0.1 <= accounting.cpu(number) < 2
        assert accounting.cpu(number) % accounting.TICK != 0


def test_a_thread_that_has_ended_is_not_forgotten() -> None:
    burn = f"import threading\nt = threading.Thread(target=exec, args=({BURN.format(seconds=0.2)!r},))\n"
    with session(burn + "t.start()\nt.join()") as number:
        assert accounting.cpu(number) >= 0.2


def test_neither_is_a_child_that_lives_nor_one_that_has_died() -> None:
    """A living one that has a session of its own would be another's."""
    program = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", {BURN.format(seconds=0.2)!r}])
child = subprocess.Popen([sys.executable, "-c", {BURN.format(seconds=0.2)!r} + "print(flush=True); open(0).read()"],
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdout.readline()
"""
    with session(program) as number:
        assert len(accounting.members(number)) == 2
        assert accounting.cpu(number) >= 0.4


def test_memory_grows_with_what_is_held() -> None:
    """About: the pages of Python itself are shared with whoever else runs it, and shares change."""
    with session("held = bytearray(b'x') * (64 << 20)") as holding, session("") as empty:
        assert accounting.pss(holding) - accounting.pss(empty) == pytest.approx(64 << 10, rel=0.1)


def test_a_session_that_is_gone_costs_nothing() -> None:
    with session("") as number:
        pass
    assert accounting.members(number) == {}
    assert (accounting.cpu(number), accounting.pss(number)) == (0, 0)
