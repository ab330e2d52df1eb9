"""Which folders are ours alone: all from the first one on."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from ws_service import server
from ws_service.errors import ListenError
from ws_service.folders import safe_folder
from ws_service.socketfile import Claim

STRANGER = 54321

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="root alone can give a folder to another user")


def claim(folder: Path) -> None:
    try:
        Claim(folder / "x.sock").release()
    except OSError as error:
        raise PermissionError(error.errno, error.strerror) from None


def listen(folder: Path) -> None:
    try:
        bound = server.bind("unix:x.sock", folder)
    except ListenError as error:
        raise PermissionError(1, str(error)) from None
    for each in bound:
        each.close()


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
    with pytest.raises(PermissionError, match=f"others may write into the folder {shared}; take that right away"):
        way(shared)
    shared.chmod(0o1770)
    way(shared)


def test_links_are_gone_from_what_is_returned(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to("run")
    assert safe_folder(tmp_path / "link") == (tmp_path / "run").resolve()


def test_a_socket_of_another_kind_that_somebody_answers_is_not_replaced(tmp_path: Path) -> None:
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
