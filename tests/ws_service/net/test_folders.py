"""Which folders are ours alone: all from the first one on."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from ws_service import server
from ws_service.errors import ListenError
from ws_service.handoff.socket_file import Claim
from ws_service.net.folders import folder_problem, make_folder, safe_folder, socket_problem

STRANGER = 54321

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="root alone can give a folder to another user")


def claim(folder: Path) -> None:
    try:
        Claim(folder / "x.sock").release()
    except OSError as error:
        raise PermissionError(error.errno, error.strerror) from None


def listen(folder: Path) -> None:
    try:
        server.bind("unix:x.sock", folder).close()
    except ListenError as error:
        raise PermissionError(1, str(error)) from None


def ask(folder: Path) -> None:
    safe_folder(folder)


ways = pytest.mark.parametrize("way", [ask, claim, listen])


@needs_root
@ways
def test_a_folder_below_a_strangers_is_refused(tmp_path: Path, way: Callable[[Path], None]) -> None:
    theirs = tmp_path / "theirs"
    (theirs / "run").mkdir(parents=True)
    os.chown(theirs, STRANGER, -1)
    with pytest.raises(PermissionError, match=f"{theirs} belongs to user {STRANGER}, and not to this one or root"):
        way(theirs / "run")
    assert os.listdir(theirs / "run") == []


@needs_root
@ways
def test_a_folder_that_a_strangers_group_may_write_into_is_refused(tmp_path: Path, way: Callable[[Path], None]) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o770)
    way(shared)
    os.chown(shared, -1, STRANGER)
    with pytest.raises(
        PermissionError, match=f"others may write into the folder {shared}; forbid that: chmod go-w {shared}"
    ):
        way(shared)
    shared.chmod(0o1770)
    way(shared)


def test_links_are_gone_from_what_is_returned(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to("run")
    assert safe_folder(tmp_path / "link") == (tmp_path / "run").resolve()


def test_a_socket_of_another_kind_on_which_a_process_listens_is_not_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as other:
        other.bind(str(tmp_path / "x.sock"))
        other.listen(1)
        with pytest.raises(ListenError, match="already in use"):
            server.bind("unix:x.sock", tmp_path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.bind(str(tmp_path / "y.sock"))
        other.listen(1)
        with pytest.raises(ListenError, match="is answered by another"):
            Claim(tmp_path / "y.sock")


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
@pytest.mark.parametrize("way", [make_folder, claim, listen])
def test_a_missing_folder_is_made_for_the_user_and_the_group_whatever_the_umask(
    tmp_path: Path, way: Callable[[Path], object], umask: int
) -> None:
    before = os.umask(umask)
    try:
        way(tmp_path / "a" / "run")
    finally:
        os.umask(before)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a", "a/run")] == [0o750, 0o750]


@pytest.mark.parametrize("mode", [0o700, 0o755])
def test_a_folder_that_is_there_keeps_its_mode(tmp_path: Path, mode: int) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run").chmod(mode)
    claim(tmp_path / "run")
    assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == mode


def test_a_folder_keeps_the_group_of_the_one_above_where_that_says_so(tmp_path: Path) -> None:
    tmp_path.chmod(0o2755)
    make_folder(tmp_path / "run")
    assert (tmp_path / "run").stat().st_mode & stat.S_ISGID


@needs_root
def test_below_a_folder_that_is_not_safe_nothing_is_made(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    os.chown(tmp_path / "theirs", STRANGER, -1)
    for way in (claim, listen):
        with pytest.raises(PermissionError, match=f"belongs to user {STRANGER}, and not to this one or root"):
            way(tmp_path / "theirs" / "run")
    assert os.listdir(tmp_path / "theirs") == []


@needs_root
@pytest.mark.parametrize("kind", ["folder", "link"])
def test_nothing_is_made_in_what_a_stranger_has_made_in_the_meantime(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    tmp_path.chmod(0o1777)
    ours, theirs = tmp_path / "ours", tmp_path / "a"
    ours.mkdir(mode=0o700)
    mkdir = os.mkdir

    def late(path: Path, mode: int = 0o777) -> None:
        if path == theirs:
            if kind == "link":
                path.symlink_to(ours)
            else:
                mkdir(path, 0o777)
                path.chmod(0o777)
                os.chown(path, STRANGER, -1)
        mkdir(path, mode)

    monkeypatch.setattr(os, "mkdir", late)
    with pytest.raises(PermissionError, match=r"belongs to user|has put a link at"):
        make_folder(theirs / "b" / "run")
    assert os.listdir(theirs) == os.listdir(ours) == []


def test_asking_makes_nothing(tmp_path: Path) -> None:
    assert folder_problem(tmp_path / "a" / "run") is None
    assert socket_problem(tmp_path / "a" / "run" / "x.sock") is None
    assert os.listdir(tmp_path) == []


def test_a_folder_that_this_user_may_not_make_is_told_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # the tests may run as root
    assert folder_problem(tmp_path / "run") == (
        f"there is no folder {tmp_path}/run, and this user may not make it; make it: mkdir -p {tmp_path}/run"
    )
    assert folder_problem(tmp_path) == f"this user may not write into the folder {tmp_path}; let it (chown, chmod)"


def test_a_path_that_no_unix_socket_can_have_is_told(tmp_path: Path) -> None:
    assert socket_problem(tmp_path / ("x" * 120)) == (
        f"the path has {len(str(tmp_path)) + 121} bytes, and that of a unix socket at most 107; use a shorter one"
    )
    with pytest.raises(ListenError, match="too long"):
        server.bind(f"unix:{'x' * 120}", tmp_path)
