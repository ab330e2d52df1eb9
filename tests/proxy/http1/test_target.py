from __future__ import annotations

import pytest

from proxy.http1.target import decoded, host_name, is_under


@pytest.mark.parametrize(
    ("path", "prefix", "expected"),
    [
        ("/live", "/live", True),
        ("/live/a", "/live", True),
        ("/lively", "/live", False),
        ("/liv", "/live", False),
        ("/live/", "/live/", True),
        ("/live/a", "/live/", True),
        ("/live", "/live/", False),
        ("/anything", "/", True),
    ],
)
def test_a_path_is_under_a_prefix_of_whole_segments(path: str, prefix: str, expected: bool) -> None:
    assert is_under(path, prefix) is expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/a%2Fb", "/a/b"), ("/%252F", "/%2F"), ("/%zz", "/%zz"), ("/%ff", "/\ufffd"), ("/a+b", "/a+b")],
)
def test_a_path_is_decoded_once(path: str, expected: str) -> None:
    assert decoded(path) == expected


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("Dash.Example.:8000", "dash.example"),
        ("127.0.0.1:80", "127.0.0.1"),
        ("[0:0::1]:80", "[::1]"),
        ("[fe80::1%eth0]", "[fe80::1%eth0]"),
        ("", ""),
    ],
)
def test_a_host_has_one_name_without_its_port(host: str, name: str) -> None:
    assert host_name(host) == name
