"""Starting and stopping in the test's own loop; the whole process is in ``tests/system/test_drain.py``."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import socket
from collections import Counter
from pathlib import Path

import pytest

from proxy.config import Settings
from proxy.errors import ListenError, TlsError
from proxy.gateway.routing import Table
from proxy.gateway.runtime import Runtime
from proxy.metrics.exchange_counts import ExchangeCounts
from proxy.net.tls_files import TlsFiles
from proxy.server.server import Server
from proxy.server.startup_checks import objections
from proxy.upstream.upstream import Upstream
from tests.certificates import Authority
from tests.processes import free_port


def settings(**values: object) -> Settings:
    values = {"listen": f"127.0.0.1:{free_port()}", "admin": f"127.0.0.1:{free_port()}", **values}
    return Settings.model_validate(values)


@pytest.mark.parametrize("key", ["listen", "admin"])
async def test_an_address_that_is_taken_is_named_with_its_key(key: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = "{}:{}".format(*taken.getsockname())
        server = Server(settings(**{key: address}), lambda _: None)
        with pytest.raises(ListenError, match=f"^{address} is already in use.*gateway.{key}"):
            await server.start()


async def test_an_address_of_another_machine_is_named() -> None:
    server = Server(settings(listen="192.0.2.1:8000"), lambda _: None)
    with pytest.raises(ListenError, match=r"^cannot listen on 192\.0\.2\.1:8000"):
        await server.start()


async def test_nothing_stays_open_when_the_second_listener_cannot_be_had() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        values = settings(admin="{}:{}".format(*taken.getsockname()))
        server = Server(values, lambda _: None)
        with pytest.raises(ListenError):
            await server.start()
        await asyncio.sleep(0)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*values.listen.split(":"))


async def test_it_listens_on_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "gateway.sock"
    server = Server(settings(listen=f"unix:{path}"), lambda _: None)
    await server.start()
    assert server.addresses == [f"unix:{path}"]
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    assert (await reader.readline()) == b"HTTP/1.1 400 Bad Request\r\n"
    writer.close()
    await server.stop()


@pytest.mark.parametrize("admin", ["", "off"])
async def test_without_an_admin_listener_nothing_is_counted(admin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[ExchangeCounts] = []
    monkeypatch.setattr("proxy.server.server.ExchangeCounts", lambda: made.append(ExchangeCounts()) or made[0])
    server = Server(settings(**({"admin": admin} if admin else {})), lambda _: None)
    await server.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", int(server.addresses[0].rpartition(":")[2]))
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    assert (await reader.readline()) == b"HTTP/1.1 400 Bad Request\r\n"
    writer.close()
    await server.stop()
    assert len(list(made[0].requests)) == (0 if admin else 1)


async def test_with_tls_it_shows_an_address_to_open(tmp_path: Path) -> None:
    server = Server(settings(tls=Authority(tmp_path).issue()), lambda _: None)
    await server.start()
    assert server.addresses[0].startswith("https://127.0.0.1:")
    await server.stop()


async def test_a_file_that_is_removed_after_the_check_is_named(tmp_path: Path) -> None:
    files = Authority(tmp_path).issue()
    os.unlink(files["key"])
    with pytest.raises(TlsError, match=r"server\.key cannot be read"):
        Server(settings(tls=files), lambda _: None)


async def test_a_socket_file_that_another_gateway_answers_is_named_with_its_key(tmp_path: Path) -> None:
    address = f"unix:{tmp_path / 'admin.sock'}"
    first, second = (Server(settings(admin=address), lambda _: None) for _ in range(2))
    await first.start()
    with pytest.raises(ListenError, match=r"admin\.sock is already in use.*gateway\.admin"):
        await second.start()
    await first.stop()
    assert not (tmp_path / "admin.sock").exists()


async def test_it_shows_the_address_it_got() -> None:
    server = Server(settings(), lambda _: None)
    await server.start()
    (url,) = server.addresses
    assert url.startswith("http://127.0.0.1:")
    await server.stop()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))


# -- reload


async def test_a_reload_applies_what_it_can_and_names_what_takes_a_restart(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "proxy")
    before = settings()
    server = Server(before, lambda _: None)
    await server.start()
    caplog.clear()
    read = Settings.model_validate(
        before.model_dump(mode="json")
        | {"admin": "127.0.0.1:9", "routes": [{"path": "/a", "to": "ws"}], "buffer": "4KiB"}
    )
    now = server.reload(read)
    assert (now.admin, now.buffer) == (before.admin, 4096)
    assert [record.getMessage() for record in caplog.records if record.module == "changes"] == [
        "the configuration was read again; 2 changed, 1 takes a restart",
        "changed: gateway.routes: added {path: /a, to: ws}",
        "changed: gateway.buffer: 16KiB -> 4KiB",
        f"takes a restart: gateway.admin: {before.admin} -> 127.0.0.1:9",
    ]
    await server.stop()


async def test_a_certificate_that_is_renewed_between_its_check_and_its_use_is_told_by_the_next_reload(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "proxy")
    authority = Authority(tmp_path)
    before = settings(tls=authority.issue())

    def checked() -> TlsFiles:
        files = TlsFiles()
        assert list(objections(before, files)) == []
        authority.issue()
        return files

    server = Server(before, lambda _: None, tls_files=checked())
    for files in (checked(), None):
        caplog.clear()
        server.reload(before, files)
        first, change = (record.getMessage() for record in caplog.records if record.module == "changes")
        assert first == "the configuration was read again; 1 changed"
        assert "server.pem was renewed: serial " in change
    caplog.clear()
    server.reload(before)
    assert caplog.messages == ["the configuration was read again; nothing changed"]


STEPS = (
    "proxy.server.server.merge",
    "proxy.net.tls_files.server_context",
    "proxy.net.tls_files.TlsFiles.certificates",
    "proxy.server.server.differences",
    "proxy.server.server.renewals",
    "proxy.server.server.make_runtime",
    "proxy.gateway.runtime.make_table",
    "proxy.gateway.runtime.AuthRules",
    "proxy.gateway.runtime.make_upstreams",
    "proxy.net.tls_files.upstream_context",
    "proxy.upstream.upstream.Upstream.__init__",
    "proxy.gateway.runtime.ForwardAuth",
    "proxy.gateway.routing.OriginCheck",
)
"""Everything that a reload makes. A step that is new belongs here."""


@pytest.mark.parametrize("step", STEPS)
async def test_a_reload_that_fails_at_any_step_changes_nothing(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    authority = Authority(tmp_path)
    files = authority.issue()
    before = settings(tls=files, upstreams={"ws": "https://localhost:1"}, upstream_ca=str(authority.file))
    server = Server(before, lambda _: None)
    await server.start()
    read = Settings.model_validate(
        before.model_dump(mode="json")
        | {
            "tls": authority.issue(file="other"),
            "upstreams": {"dash": "http://127.0.0.1:9", "ws": "https://localhost:1"},
            "limits": {"request_line": "2KiB", "in_flight": 7, "connections": 3},
            "timeouts": {"hold": "1s", "head": "2s", "send": "3s", "keepalive": "4s", "tunnel_idle": "5s"},
            "health": {"interval": "9s", "timeout": "8s", "fails": 7, "ws": "/healthz"},
            "origins": ["any"],
            "auth": [{"ask": "/auth"}],
            "routes": [{"path": "/x", "to": "ws"}],
            "access_log": "json",
            "buffer": "8KiB",
        }
    )

    def in_force() -> list[object]:
        rules, manager = server._gateway.runtime, server._manager
        kept = [vars(upstream).copy() for upstream in rules.upstreams.values()]
        parts = [(vars(upstream.health), upstream.queue.in_flight) for upstream in rules.upstreams.values()]
        acceptor = server._acceptor
        assert acceptor is not None
        return [
            rules,
            rules.upstreams["dash"],
            [{key: value for key, value in each.items() if not key.startswith("__")} for each in kept],
            [{**health} for health, _ in parts],
            manager.settings,
            dict(acceptor._options),
            server._gateway.runtime.certificates,
            server.limiter.capacity_notice,
        ]

    before_it = in_force()
    lines = len(caplog.records)

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError(f"{step} fails")

    with monkeypatch.context() as patch:
        patch.setattr(step, fail)
        with pytest.raises(RuntimeError, match="fails"):
            server.reload(read)
    assert in_force() == before_it
    assert not [line for line in caplog.records[lines:] if "read again" in line.getMessage()]
    now = server.reload(read)  # and without the fault all of it changes
    assert now.access_log == "json"
    after = in_force()
    assert all(one != other for one, other in zip(before_it, after, strict=True))
    await server.stop()


async def test_reloads_leave_nothing_behind() -> None:
    first, second = settings(), {"upstreams": {"dash": "http://127.0.0.1:9"}, "timeouts": {"keepalive": "9s"}}
    other = Settings.model_validate(first.model_dump(mode="json") | second)
    server = Server(first, lambda _: None)
    await server.start()

    async def kept() -> Counter[type]:
        for _ in range(3):  # turns of the loop, in which what was cancelled ends
            await asyncio.sleep(0)
        gc.collect()
        return Counter(
            type(each) for each in gc.get_objects() if isinstance(each, Runtime | Upstream | Settings | Table)
        )

    server.reload(other)
    server.reload(first)
    before, tasks = await kept(), len(asyncio.all_tasks())
    for number in range(200):
        server.reload((other, first)[number % 2])
    assert await kept() == before
    assert len(asyncio.all_tasks()) == tasks
    await server.stop()
