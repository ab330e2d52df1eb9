"""The key file: made once whichever process is first, for one user, and every way in which it cannot be."""

from __future__ import annotations

import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ws_service.errors import KeyFileError
from ws_service.hub.keys import KEY_VARIABLE, PREVIOUS_VARIABLE, Keys, has_key_file, key_problem, load_keys

KEY = "k" * 64


def _refused(path: Path, env: dict[str, str] | None = None) -> str:
    with pytest.raises(KeyFileError) as caught:
        load_keys(path, env or {})
    assert KEY not in str(caught.value)
    return str(caught.value)


def test_the_first_process_makes_the_key_and_the_others_read_it(tmp_path: Path) -> None:
    path = tmp_path / "run" / "hub.key"
    keys = load_keys(path, {})
    assert len(keys.current) == 64 and keys.previous is None
    assert load_keys(path, {}) == keys
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and path.read_text() == f"{keys.current}\n"
    assert [entry.name for entry in path.parent.iterdir()] == ["hub.key"]


def test_the_mode_does_not_depend_on_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        load_keys(tmp_path / "run" / "hub.key", {})
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "run" / "hub.key").stat().st_mode) == 0o600


def test_processes_that_start_at_once_have_the_same_key(tmp_path: Path) -> None:
    """Threads here: the file knows no difference."""
    many = 8
    together = threading.Barrier(many)

    def load(_: int) -> str:
        together.wait()
        return load_keys(tmp_path / "run" / "hub.key", {}).current

    with ThreadPoolExecutor(many) as pool:
        keys = set(pool.map(load, range(many)))
    assert len(keys) == 1 and len(keys.pop()) == 64


def test_a_process_that_finds_another_one_was_first_takes_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "hub.key"
    link = os.link

    def late(source: Path, target: Path) -> None:
        path.write_text(f"{KEY}\n")
        path.chmod(0o600)
        link(source, target)

    monkeypatch.setattr(os, "link", late)
    assert load_keys(path, {}).current == KEY
    assert [entry.name for entry in tmp_path.iterdir()] == ["hub.key"]


def test_a_key_that_is_gone_again_when_another_process_was_first_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, refused = os.link, []

    def refuse_once(*paths: Path) -> None:
        if not refused:
            refused.append(paths)
            raise FileExistsError
        link(*paths)

    monkeypatch.setattr(os, "link", refuse_once)
    keys = load_keys(tmp_path / "hub.key", {})
    assert keys == load_keys(tmp_path / "hub.key", {}) and refused


def test_a_key_of_ones_own_and_the_one_before_it_are_read(tmp_path: Path) -> None:
    for name, key in (("hub.key", KEY), ("hub.key.previous", "o" * 32)):
        (tmp_path / name).write_text(f" {key}\r\n")
        (tmp_path / name).chmod(0o400)
    assert load_keys(tmp_path / "hub.key", {}) == Keys(KEY, "o" * 32)


def test_a_rotation_is_a_file_that_gets_another_name(tmp_path: Path) -> None:
    path = tmp_path / "hub.key"
    before = load_keys(path, {}).current
    path.rename(tmp_path / "hub.key.previous")
    after = load_keys(path, {})
    assert after.previous == before and after.current != before


def test_the_environment_has_the_key_for_another_host_and_then_no_file_is_looked_at(tmp_path: Path) -> None:
    env = {KEY_VARIABLE: KEY, PREVIOUS_VARIABLE: "o" * 32}
    assert load_keys(tmp_path / "none" / "hub.key", env) == Keys(KEY, "o" * 32)
    assert load_keys(tmp_path / "none" / "hub.key", {KEY_VARIABLE: KEY}) == Keys(KEY)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    "key", ["short", "k" * 31, "k" * 40 + " " + "k", "k" * 40 + "\n" + "k" * 40, "ü" * 40, "k" * 5000]
)
def test_text_that_is_no_key_is_refused_and_not_shown(tmp_path: Path, key: str) -> None:
    path = tmp_path / "hub.key"
    path.write_text(key)
    path.chmod(0o600)
    assert key not in _refused(path)
    assert KEY_VARIABLE in _refused(tmp_path / "other", {KEY_VARIABLE: key})


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "hub.key"
    path.touch(0o600)
    assert "holds 0 characters" in _refused(path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602])
def test_a_file_that_others_may_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "hub.key"
    path.write_text(KEY)
    path.chmod(mode)
    assert "chmod 600" in _refused(path)


def test_a_link_a_folder_and_a_queue_are_no_key(tmp_path: Path) -> None:
    (tmp_path / "real").write_text(KEY)
    (tmp_path / "real").chmod(0o600)
    (tmp_path / "link").symlink_to("real")
    assert "symbolic link" in _refused(tmp_path / "link")
    (tmp_path / "folder").mkdir()
    assert "is no file" in _refused(tmp_path / "folder")
    os.mkfifo(tmp_path / "queue", 0o600)
    assert "is no file" in _refused(tmp_path / "queue")


def test_a_folder_into_which_others_may_write_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    assert "chmod go-w" in _refused(folder / "hub.key")


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another user")
def test_the_file_of_another_user_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "hub.key"
    path.write_text(KEY)
    path.chmod(0o600)
    os.chown(path, 12345, 12345)
    sentence = _refused(path)
    assert "belongs to user 12345" in sentence and "as one user" in sentence and KEY_VARIABLE in sentence


def test_a_folder_that_cannot_be_made_is_an_error_that_names_the_variable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert KEY_VARIABLE in _refused(tmp_path / "file" / "run" / "hub.key")


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert "No space left" in _refused(tmp_path / "hub.key")
    assert list(tmp_path.iterdir()) == []


def test_the_keys_of_the_api_are_derived_from_both_and_are_neither() -> None:
    keys = Keys(KEY, "o" * 64)
    assert len(keys.api_keys) == 2 and not {KEY, "o" * 64} & set(keys.api_keys)
    assert Keys("o" * 64).api_keys[0] == keys.api_keys[1]


def test_a_key_is_not_shown() -> None:
    assert KEY not in repr(Keys(KEY, KEY))


def test_a_folder_of_another_user_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``chown`` would take it from the service."""
    folder = tmp_path / "run"
    folder.mkdir()
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "may not write into the folder" in _refused(folder / "hub.key")
    monkeypatch.setattr("ws_service.hub.keys._owner", lambda path: 12345)
    sentence = _refused(folder / "hub.key")
    assert f"the folder {folder} belongs to user 12345" in sentence and "as one user" in sentence
    assert KEY_VARIABLE in sentence


def test_a_file_that_this_user_may_not_even_look_for_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    assert not has_key_file(tmp_path / "hub.key")
    (tmp_path / "link").symlink_to("nowhere")
    assert has_key_file(tmp_path / "link")
    assert not has_key_file(tmp_path / "link" / "hub.key")
    monkeypatch.setattr(Path, "lstat", denied)
    assert has_key_file(tmp_path / "hub.key")


def test_what_keeps_a_key_from_being_made_or_read_is_told_and_nothing_is_made(tmp_path: Path) -> None:
    assert key_problem(tmp_path / "run" / "hub.key", {}) is None
    assert list(tmp_path.iterdir()) == []
    path = tmp_path / "hub.key"
    path.write_text(KEY)
    path.chmod(0o644)
    assert "chmod 600" in (key_problem(path, {}) or "")
    assert key_problem(path, {KEY_VARIABLE: KEY}) is None
    assert KEY_VARIABLE in (key_problem(path, {KEY_VARIABLE: "short"}) or "")
    (tmp_path / "link").symlink_to("nowhere")
    assert "symbolic link" in (key_problem(tmp_path / "link", {}) or "")
    tmp_path.chmod(0o777)
    assert "chmod go-w" in (key_problem(tmp_path / "run" / "hub.key", {}) or "")
