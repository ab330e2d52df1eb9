"""Lines to a descriptor whose reader may be slow, gone or full: nobody waits for it, and what is lost is counted."""

from __future__ import annotations

import logging
import os
import select
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.processes import python
from ws_service.logs.log_writer import MAX_BUFFERED, LogHandler, LogWriter

CANNOT = "its lines are dropped until that changes"


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe: the end to read, the end to write."""
    ends = os.pipe()
    try:
        yield ends
    finally:
        for end in ends:
            try:
                os.close(end)
            except OSError:
                pass  # the test has closed it


@contextmanager
def writing(descriptor: int) -> Iterator[LogWriter]:
    writer = LogWriter(descriptor, "the test's log")
    try:
        yield writer
    finally:
        writer.close(5)


class Records(logging.Handler):
    """What is logged, and a wait for it: other threads log too."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []
        self._changed = threading.Condition()

    def emit(self, record: logging.LogRecord) -> None:
        with self._changed:
            self.messages.append(record.getMessage())
            self._changed.notify_all()

    def wait_for(self, count: int) -> list[str]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.messages) >= count, 10), self.messages
            return self.messages


@pytest.fixture
def records() -> Iterator[Records]:
    handler = Records()
    logger = logging.getLogger("ws_service")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)


def fill(descriptor: int) -> int:
    """Write until a pipe takes no more; returns how many bytes that were."""
    os.set_blocking(descriptor, False)
    count = 0
    try:
        while True:
            count += os.write(descriptor, b"#" * 4095 + b"\n")
    except BlockingIOError:
        os.set_blocking(descriptor, True)
    return count


def read(descriptor: int, count: int) -> bytes:
    data = b""
    while len(data) < count:
        data += os.read(descriptor, count - len(data))
    return data


def test_lines_arrive_in_their_order() -> None:
    with pipe() as (reader, end), writing(end) as writer:
        lines = [b"%d\n" % number for number in range(1000)]
        for line in lines:
            writer.write(line)
        assert read(reader, sum(map(len, lines))) == b"".join(lines)


def test_what_is_held_is_written_before_the_end() -> None:
    with pipe() as (reader, end):
        with writing(end) as writer:
            writer.write(b"last\n")
        assert read(reader, 5) == b"last\n"


def test_a_flush_waits_until_everything_is_written_but_not_for_ever() -> None:
    with pipe() as (reader, end), writing(end) as writer:
        writer.write(b"one\n")
        writer.flush(5)
        assert select.select([reader], [], [], 0)[0], "it is in the pipe"
        assert read(reader, 4) == b"one\n"
        stuffed = fill(end)
        writer.write(b"two\n")
        began = time.monotonic()
        writer.flush(0.2)
        assert 0.2 <= time.monotonic() - began < 2
        read(reader, stuffed + 4)


def test_a_reader_that_does_not_read_blocks_no_caller(records: Records) -> None:
    with pipe() as (reader, end):
        stuffed = fill(end)
        with writing(end) as writer:
            line = b"x" * 999 + b"\n"
            began = time.monotonic()
            for _ in range(3 * MAX_BUFFERED // len(line)):
                writer.write(line)
            assert time.monotonic() - began < 2
            assert records.messages == [f"the test's log is not read as fast as it grows; {CANNOT}"]
            lost = writer.dropped
            assert lost == 3 * MAX_BUFFERED // len(line) - MAX_BUFFERED // len(line)
            read(reader, stuffed)
            assert read(reader, MAX_BUFFERED // len(line) * len(line)) == line * (MAX_BUFFERED // len(line))
            assert records.wait_for(2)[1] == f"the test's log is written again; {lost} lines were dropped"
            writer.write(b"new\n")
            assert read(reader, 4) == b"new\n"


def test_an_end_does_not_wait_for_a_reader_that_does_not_read() -> None:
    with pipe() as (reader, end):
        stuffed = fill(end)
        writer = LogWriter(end, "the test's log")
        writer.write(b"never read\n")
        began = time.monotonic()
        writer.close(0.2)
        assert 0.2 <= time.monotonic() - began < 2
        read(reader, stuffed)  # lets its thread end, before the descriptor is somebody else's
        assert read(reader, 11) == b"never read\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here: a device of Linux")
def test_a_full_disk_costs_lines_and_is_reported_once(records: Records) -> None:
    with open("/dev/full", "wb", buffering=0) as full, writing(full.fileno()) as writer:
        writer.write(b"a\nb\n")
        assert records.wait_for(1) == [
            f"the test's log cannot be written ([Errno 28] No space left on device); {CANNOT}"
        ]
        writer.write(b"c\n")
        writer.close(5)
        assert writer.dropped == 3
        assert len(records.messages) == 1


def test_a_reader_that_has_gone_costs_lines_and_is_reported_once(records: Records) -> None:
    with pipe() as (reader, end):
        os.close(reader)
        with writing(end) as writer:
            writer.write(b"a\n")
            assert records.wait_for(1) == [f"the test's log cannot be written ([Errno 32] Broken pipe); {CANNOT}"]
            writer.write(b"b\n")
        assert writer.dropped == 2
        assert len(records.messages) == 1


def test_the_lines_of_processes_that_share_a_pipe_are_not_mixed() -> None:
    """As those of workers were: a pipe that was nearly full took the beginning of many lines, written at once."""
    with pipe() as (reader, end):
        stuffed = fill(end)
        line, other = b"a" * 999 + b"\n", b"b" * 999 + b"\n"
        writers = [LogWriter(end, "the test's log") for _ in range(2)]
        for _ in range(500):
            writers[0].write(line)
            writers[1].write(other)
        read(reader, stuffed)
        lines = read(reader, 1000 * 1000).split(b"\n")[:-1]
        assert len(lines) == 1000
        assert set(lines) == {line[:-1], other[:-1]}
        for writer in writers:
            writer.close(5)


def test_a_line_that_is_longer_than_what_a_pipe_takes_at_once_is_written_whole() -> None:
    lines = [b"short\n", b"x" * 10_000 + b"\n", b"last, without an end"]
    with pipe() as (reader, end), writing(end) as writer:
        writer.write(b"".join(lines))
        assert read(reader, sum(map(len, lines))) == b"".join(lines)


class Failing(LogWriter):
    """Takes so many bytes, then fails until it is told otherwise."""

    capacity = 0

    def _write(self, data: memoryview) -> int:
        if not self.capacity:
            raise OSError(28, "No space left on device")
        taken = super()._write(data[: self.capacity])
        self.capacity -= taken
        return taken


def test_a_line_that_was_cut_does_not_spoil_the_next(records: Records) -> None:
    with pipe() as (reader, end):
        writer = Failing(end, "the test's log")
        writer.capacity = 6
        writer.write(b"one\ntwo\n")
        records.wait_for(1)
        assert writer.dropped == 1
        writer.capacity = 100
        writer.write(b"three\n")
        assert read(reader, 13) == b"one\ntw\nthree\n"
        assert records.wait_for(2)[1] == "the test's log is written again; 1 lines were dropped"
        writer.close(5)


def test_a_descriptor_that_another_program_has_made_non_blocking_loses_nothing(records: Records) -> None:
    """The flag belongs to the open file, which programs share: Node sets it on pipes."""
    with pipe() as (reader, end):
        stuffed = fill(end)
        os.set_blocking(end, False)
        with writing(end) as writer:
            writer.write(b"patient\n")
            read(reader, stuffed)
            assert read(reader, 8) == b"patient\n"
        assert records.messages == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here: a device of Linux")
def test_a_log_that_reports_into_itself_does_not_turn_in_circles() -> None:
    logger = logging.getLogger("ws_service")
    with open("/dev/full", "wb", buffering=0) as full:
        writer = LogWriter(full.fileno(), "this log")
        handler = LogHandler(writer, "%(levelname)s %(message)s")
        logger.addHandler(handler)
        try:
            logger.error("one")
            logger.error("two")
            time.sleep(0.2)  # a circle would turn on its own; it has no event
        finally:
            logger.removeHandler(handler)
        writer.close(5)
    assert writer.dropped == 3, "two, and the report about the first"


def test_a_record_becomes_a_line_whatever_it_holds() -> None:
    with pipe() as (reader, end):
        with writing(end) as writer:
            handler = LogHandler(writer, "%(levelname)s %(message)s")
            handler.handle(logging.LogRecord("proxy", logging.INFO, "", 0, "a %s \udc80", ("ü",), None))
        expected = "INFO a ü \\udc80\n".encode()
        assert read(reader, len(expected)) == expected


def test_a_record_and_its_traceback_are_escaped_whichever_logger_they_come_from() -> None:
    with pipe() as (reader, end):
        with writing(end) as writer:
            handler = LogHandler(writer, "%(levelname)s %(message)s")
            try:
                raise ValueError("x\nERROR forged\x1b[2J")
            except ValueError as error:
                told = (ValueError, error, error.__traceback__)
            handler.handle(logging.LogRecord("asyncio", logging.ERROR, "", 0, "a\r\n%s", ("\x85",), told))
        lines = os.read(reader, 65536).decode().split("\n")
    assert lines[:2] == [r"ERROR a\r\n\x85", "Traceback (most recent call last):"]
    assert lines[-2:] == [r"ValueError: x\nERROR forged\x1b[2J", ""]
    assert not [line for line in lines if line.startswith("ERROR forged")]


def test_a_record_that_cannot_be_formatted_does_not_end_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    with pipe() as (reader, end):
        with writing(end) as writer:
            handler = LogHandler(writer, "%(levelname)s %(message)s")
            handler.handle(logging.LogRecord("proxy", logging.INFO, "", 0, "%d", ("no number",), None))
            handler.handle(logging.LogRecord("proxy", logging.INFO, "", 0, "next", (), None))
        assert read(reader, 10) == b"INFO next\n"
    assert "--- Logging error ---" in capsys.readouterr().err


FORKING = """
import os, threading
from ws_service.logs.log_writer import LogWriter

writer = LogWriter(1, "the test's log")
held, is_over = threading.Event(), threading.Event()

def hold():
    with writer._changed:
        held.set()
        is_over.wait()

threading.Thread(target=hold).start()
held.wait()
child = os.fork()
if not child:
    writer.write(b"of the child\\n")
    writer.flush(5)
    os._exit(0)
is_over.set()
os.waitpid(child, 0)
writer.write(b"of the parent\\n")
writer.close(5)
"""


@pytest.mark.system
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_process_writes_its_lines_itself_whatever_the_threads_of_its_parent_did() -> None:
    """As an app's own ``multiprocessing`` forks: a child has no other thread, and their locks stay as they were."""
    run = subprocess.run(python("-W", "ignore", "-c", FORKING), capture_output=True, timeout=20, check=True)
    assert run.stdout == b"of the child\nof the parent\n"
