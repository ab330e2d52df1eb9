from __future__ import annotations

import pytest

from ws_service.hub.paths import is_event_stream, is_websocket, path_of


@pytest.mark.parametrize("prefix", ["", "/app", "/a/b"])
def test_the_end_of_a_path_decides_under_any_prefix(prefix: str) -> None:
    assert is_websocket(f"{prefix}/connection/websocket")
    assert is_event_stream(f"{prefix}/connection/uni_sse")


@pytest.mark.parametrize(
    "path", ["", "/", "/connection/websocket/", "/xconnection/websockets", "/myconnection/websocket"]
)
def test_others_are_the_apps(path: str) -> None:
    assert not is_websocket(path)
    assert not is_event_stream(path)


def test_a_target_is_decoded_and_its_query_left_out() -> None:
    assert path_of(b"/a%20b/c?d=/connection/websocket") == "/a b/c"
    assert path_of(b"/\xff") == "/ÿ"
