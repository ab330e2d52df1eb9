"""One origin: what browsers send can be read and named, and a mistake is told what to write instead."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.origin import Origin, check_origin, parse_origin


@pytest.mark.parametrize(
    ("text", "origin", "written"),
    [
        ("https://app.example", Origin("https", "app.example", 443), "https://app.example"),
        ("HTTPS://App.Example:443", Origin("https", "app.example", 443), "https://app.example"),
        ("http://app.example:8080", Origin("http", "app.example", 8080), "http://app.example:8080"),
        ("http://[2001:DB8:0::1]:80", Origin("http", "[2001:db8::1]", 80), "http://[2001:db8::1]"),
        ("file://", Origin("file", "", None), "file://"),
        ("capacitor://localhost", Origin("capacitor", "localhost", None), "capacitor://localhost"),
        ("tauri://localhost:1", Origin("tauri", "localhost", 1), "tauri://localhost:1"),
        ("app://.", Origin("app", ".", None), "app://."),
        ("vscode-webview://0a1b", Origin("vscode-webview", "0a1b", None), "vscode-webview://0a1b"),
    ],
)
def test_an_origin_is_read_and_written_in_one_way(text: str, origin: Origin, written: str) -> None:
    assert parse_origin(text) == origin
    assert str(origin) == check_origin(text) == written


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "null",
            "https://",
            "file:///",
            "file://:80",
            "https://a/",
            "https://a?b",
            "https://u@a",
            "https:a",
            "://a",
        ),
        *("https://a b", "https://a:", "https://a:x", "https://[::1", "https://\xe4.example", "https://a\n", "1a://b"),
    ],
)
def test_what_is_no_origin_is_none(text: str) -> None:
    assert parse_origin(text) is None


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("https://app.example/", "alone, as a browser writes them: https://app.example"),
        ("https://app.example:8443/live?x", "alone, as a browser writes them: https://app.example:8443"),
        ("https://me@app.example", "as a browser writes them: https://app.example"),
        ("wss://app.example/ws", "as a browser writes them: https://app.example"),
        ("ws://app.example:8000", "as a browser writes them: http://app.example:8000"),
        ("file:///", "as a browser writes them: file://"),
        ("https://b\xfccher.example", "as a browser writes them: https://xn--bcher-kva.example"),
        ("app.example", "write https://app.example, "),
        ("localhost:3000", "write https://localhost:3000, "),
        ("Null", "write https://Null, https://host:port, scheme://host, file://, null, same, any or regex:..."),
        ("https://*.example", "a pattern is written regex:https://[a-z0-9-]+[.]example"),
        ("*", "write any for all of them, or regex:https://"),
        ("https://app.example:99999", "write scheme://host or scheme://host:port"),
        ("https://", "write scheme://host or scheme://host:port"),
    ],
)
def test_a_mistake_is_told_what_to_write(text: str, advice: str) -> None:
    with pytest.raises(ValueError, match="is not an origin; ") as caught:
        check_origin(text)
    assert advice in str(caught.value)


@given(st.text(max_size=40))
def test_whatever_is_written_is_read_or_refused(text: str) -> None:
    try:
        written = check_origin(text)
    except ValueError:
        return
    assert check_origin(written) == written
