"""Lines of a stream, waited for by a thread that does not read them itself."""

from __future__ import annotations

import os
from collections.abc import Sequence

from proxy.output_reader import OutputReader


def test_what_is_waited_for_is_found_when_it_comes_or_not_at_all() -> None:
    reading, writing = os.pipe()
    reader = OutputReader(os.fdopen(reading), "a program")

    def second(lines: Sequence[str]) -> str | None:
        if len(lines) == 1:
            os.write(writing, b"two\n")  # while it is waited for
        return lines[1] if len(lines) > 1 else None

    os.write(writing, b"one\n")
    assert reader.wait(second, 20) == "two\n"
    assert reader.wait(lambda lines: lines[2:] or None, 0.01) is None
    assert not reader.has_ended
    os.write(writing, b"no end of line")
    os.close(writing)
    assert reader.wait(lambda lines: lines[3:] or None, 20) is None, "the stream has ended"
    assert (reader.has_ended, reader.text) == (True, "one\ntwo\nno end of line")
    reader.close(20)
