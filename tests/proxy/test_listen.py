"""What an address means in sockets, and whose socket file is left alone."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from proxy.errors import ListenError
from proxy.listen import bind
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


async def test_an_address_that_is_taken_is_named_with_its_key() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = "{}:{}".format(*taken.getsockname())
        assert await refusal(address) == (
            f"{address} is already in use; stop the program that listens there, "
            "or change gateway.listen in the configuration."
        )


async def test_an_address_of_another_host_and_a_name_of_none_are_refused() -> None:
    assert "192.0.2.1:8000 cannot be listened on (Cannot assign" in await refusal("192.0.2.1:8000")
    assert "gateway.invalid:8000 cannot be listened on" in await refusal("gateway.invalid:8000")


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
async def test_a_socket_file_that_somebody_answers_is_left_alone(tmp_path: Path, kind: socket.SocketKind) -> None:
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
    assert "cannot be listened on (there is a file that is no socket)" in await refusal(f"unix:{path}")
    assert path.read_text() == "precious"


async def test_the_socket_file_of_a_successor_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "gateway.sock"
    bound = await bind(f"unix:{path}", "gateway.listen")
    path.unlink()
    with socket.socket(socket.AF_UNIX) as successor:
        successor.bind(str(path))
        bound.close()
        assert path.exists()


async def test_a_folder_that_is_not_there_and_a_path_that_is_too_long_are_refused(tmp_path: Path) -> None:
    assert "No such file" in await refusal(f"unix:{tmp_path}/none/gateway.sock")
    assert "path too long" in await refusal(f"unix:{tmp_path}/{'x' * 120}")
