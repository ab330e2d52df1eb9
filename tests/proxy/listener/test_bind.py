"""What an address means in sockets, and whose socket file is left alone."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from proxy.errors import ListenError
from proxy.listener.bind import bind
from tests.processes import free_port


async def refusal(address: str) -> str:
    with pytest.raises(ListenError) as caught:
        await bind(address, "gateway.listen")
    return str(caught.value)


async def test_a_port_is_listened_on() -> None:
    port = free_port()
    bound = await bind(f"127.0.0.1:{port}", "gateway.listen")
    with socket.create_connection(("127.0.0.1", port)):
        pass
    bound.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


async def test_a_name_is_listened_on_at_each_of_its_addresses() -> None:
    port = free_port()
    bound = await bind(f"localhost:{port}", "gateway.listen")
    assert {sock.getsockname()[0] for sock in bound.sockets} <= {"127.0.0.1", "::1"}
    assert {sock.getsockname()[1] for sock in bound.sockets} == {port}
    bound.close()


async def test_a_star_is_every_address_of_both_families() -> None:
    port = free_port()
    bound = await bind(f"*:{port}", "gateway.listen")
    assert {sock.family for sock in bound.sockets} >= {socket.AF_INET}
    assert {sock.getsockname()[0] for sock in bound.sockets} <= {"0.0.0.0", "::"}
    if any(sock.family == socket.AF_INET6 for sock in bound.sockets):
        with socket.create_connection(("::1", port)):
            pass
    with socket.create_connection(("127.0.0.1", port)):
        pass
    bound.close()


async def test_an_address_that_is_taken_is_named_with_its_key() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = "{}:{}".format(*taken.getsockname())
        assert await refusal(address) == (
            f"{address} is already in use; stop the program that listens there, or change gateway.listen"
        )


async def test_an_address_of_another_host_and_a_name_of_none_are_refused() -> None:
    assert "cannot listen on 192.0.2.1:8000: Cannot assign" in await refusal("192.0.2.1:8000")
    assert "gateway.invalid:8000 cannot be looked up" in await refusal("gateway.invalid:8000")


async def test_a_socket_file_is_for_the_user_and_the_group_and_goes_when_it_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "gateway.sock"
    bound = await bind(f"unix:{path}", "gateway.listen")
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    bound.close()
    bound.close()
    assert not path.exists()


async def test_the_socket_file_of_a_process_that_is_gone_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "gateway.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    bound = await bind(f"unix:{path}", "gateway.listen")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    bound.close()


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_SEQPACKET])
async def test_a_socket_file_on_which_a_process_listens_is_left_alone(tmp_path: Path, kind: socket.SocketKind) -> None:
    path = tmp_path / "gateway.sock"
    with socket.socket(socket.AF_UNIX, kind) as alive:
        alive.bind(str(path))
        alive.listen()
        before = os.stat(path).st_ino
        assert "is already in use" in await refusal(f"unix:{path}")
        assert os.stat(path).st_ino == before


async def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "gateway.sock"
    path.write_text("precious")
    assert f"cannot listen on unix:{path}: {path} is there and is not a socket; remove it, or change" in await refusal(
        f"unix:{path}"
    )
    assert path.read_text() == "precious"


async def test_the_socket_file_of_a_successor_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "gateway.sock"
    bound = await bind(f"unix:{path}", "gateway.listen")
    path.unlink()
    with socket.socket(socket.AF_UNIX) as successor:
        successor.bind(str(path))
        bound.close()
        assert path.exists()


async def test_a_folder_that_is_not_there_is_made_so_that_the_group_may_enter(tmp_path: Path) -> None:
    bound = await bind(f"unix:{tmp_path}/a/run/gateway.sock", "gateway.listen")
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a", "a/run")] == [0o750, 0o750]
    bound.close()


async def test_a_path_that_is_too_long_and_a_file_in_the_place_of_a_folder_are_refused(tmp_path: Path) -> None:
    assert "path too long" in await refusal(f"unix:{tmp_path}/{'x' * 120}")
    (tmp_path / "file").touch()
    assert f"{tmp_path}/file is a file, and no folder" in await refusal(f"unix:{tmp_path}/file/gateway.sock")


@pytest.mark.parametrize(("mode", "lines"), [(0o700, 1), (0o750, 0), (0o755, 0)])
async def test_a_folder_that_a_proxy_cannot_enter_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int, lines: int
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    folder.chmod(mode)
    with caplog.at_level("INFO", "proxy"):
        (await bind(f"unix:{folder}/gateway.sock", "gateway.listen")).close()
    said = f"a proxy of another user cannot enter the folder {folder}; if it is to: chmod g+x {folder}"
    assert caplog.messages == [said] * lines


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's folder")
async def test_in_a_folder_that_another_user_made_nothing_is_made(tmp_path: Path) -> None:
    """Who made it could put another socket in its place (issue 9, A17)."""
    folder = tmp_path / "theirs"
    (folder / "below").mkdir(parents=True)
    os.chown(folder, 65534, 65534)
    for path in (folder / "x.sock", folder / "below" / "x.sock"):
        assert f"{folder} belongs to user 65534, and not to this one or root" in await refusal(f"unix:{path}")
        assert not path.exists()


@pytest.mark.parametrize(
    ("mode", "is_safe"), [(0o700, True), (0o755, True), (0o775, True), (0o777, False), (0o757, False), (0o1777, True)]
)
async def test_a_folder_into_which_others_may_write_is_refused(tmp_path: Path, mode: int, is_safe: bool) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(mode)
    address = f"unix:{folder}/x.sock"
    if is_safe:
        (await bind(address, "gateway.listen")).close()
    else:
        assert f"others may write into the folder {folder}; forbid that: chmod go-w {folder}" in await refusal(address)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another group")
async def test_another_group_that_may_write_is_others(tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o770)
    os.chown(folder, 0, 65534)
    assert "others may write into the folder" in await refusal(f"unix:{folder}/x.sock")


@pytest.mark.parametrize("exists", [True, False])
async def test_a_link_in_the_place_of_the_socket_is_not_followed(tmp_path: Path, exists: bool) -> None:
    target = tmp_path / "target"
    if exists:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(target))
    link = tmp_path / "gateway.sock"
    link.symlink_to(target)
    assert f"{link} is a symbolic link; remove it, or change gateway.listen" in await refusal(f"unix:{link}")
    assert link.is_symlink() and target.exists() == exists


async def test_a_link_that_takes_the_place_of_the_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "gateway.sock"
    bound = await bind(f"unix:{path}", "gateway.listen")
    path.rename(tmp_path / "moved")
    path.symlink_to(tmp_path / "moved")
    bound.close()
    assert path.is_symlink()


async def test_a_folder_may_be_reached_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to("run")
    bound = await bind(f"unix:{tmp_path}/link/x.sock", "gateway.listen")
    assert (tmp_path / "run" / "x.sock").exists()
    bound.close()
    assert not (tmp_path / "run" / "x.sock").exists()


async def test_a_socket_whose_backlog_is_full_is_in_use_and_delays_nothing(tmp_path: Path) -> None:
    path = tmp_path / "gateway.sock"
    with socket.socket(socket.AF_UNIX) as owner, socket.socket(socket.AF_UNIX) as first:
        owner.bind(str(path))
        owner.listen(0)
        first.connect(str(path))
        assert "is already in use" in await refusal(f"unix:{path}")
