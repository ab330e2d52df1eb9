"""The limit of open files is raised once, and what has run out is said in words."""

from __future__ import annotations

import errno
import resource

import pytest

from ws_service.net.descriptors import accept_failure, raise_descriptor_limit


@pytest.mark.parametrize(("is_granted", "limit"), [(True, 4096), (False, 1024)])
def test_the_limit_is_raised_as_far_as_the_system_grants_it(
    monkeypatch: pytest.MonkeyPatch, is_granted: bool, limit: int
) -> None:
    asked = []

    def setrlimit(_: int, limits: tuple[int, int]) -> None:
        asked.append(limits)
        if not is_granted:
            raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))
    monkeypatch.setattr(resource, "setrlimit", setrlimit)
    assert raise_descriptor_limit() == limit
    assert asked == [(4096, 4096)]


def test_a_limit_that_is_raised_already_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (4096, 4096))
    monkeypatch.setattr(resource, "setrlimit", None)
    assert raise_descriptor_limit() == 4096


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EMFILE, "this process has no descriptor left, of 1024; raise it (LimitNOFILE="),
        (errno.ENFILE, "the system has no descriptor left, of 1024; "),
        (errno.ENOBUFS, "the system has no memory left for sockets, of 1024; "),
        (errno.EPERM, "accept fails (Operation not permitted), of 1024; "),
    ],
)
def test_what_has_run_out_is_named(monkeypatch: pytest.MonkeyPatch, number: int, words: str) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))
    assert accept_failure(OSError(number, "Operation not permitted")).startswith(words)
