"""Where the hub is found, and what is said where it is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ws_service.publisher.api_server import API_KEY, KEY
from ws_service.config.file import CONFIG_VARIABLE
from ws_service.errors import PublishError
from ws_service.hub.keys import KEY_VARIABLE
from ws_service.publisher.hub_address import (
    AGAIN,
    URL_VARIABLE,
    HubAddresses,
    Place,
    find,
)

OTHER = {KEY_VARIABLE: KEY}


def written(folder: Path, text: str = "", key: str | None = KEY) -> Path:
    path = folder / "config.yaml"
    path.write_text(f"ws_service: {{{text}}}\n")
    if key is not None:
        (folder / "run").mkdir(exist_ok=True)
        (folder / "run" / "hub.key").write_text(f"{key}\n")
        (folder / "run" / "hub.key").chmod(0o600)
    return path


@pytest.mark.parametrize(
    ("url", "place", "prefix"),
    [
        ("http://10.0.0.7:8765", Place("10.0.0.7", 8765), ""),
        ("http://hub/", Place("hub", 80), ""),
        ("https://hub.example/x/", Place("hub.example", 443, True), "/x"),
        ("http://[::1]:8765", Place("::1", 8765), ""),
        ("unix:/run/ws/api.sock", Place("", 0, path="/run/ws/api.sock"), ""),
    ],
)
def test_the_environment_is_enough_on_another_host(folder: Path, url: str, place: Place, prefix: str) -> None:
    found = find({URL_VARIABLE: url, **OTHER})
    assert (found.place, found.prefix, found.api_key, found.most) == (place, prefix, API_KEY, None)


@pytest.mark.parametrize(
    "url", ["10.0.0.7:8765", "ftp://x", "http://", "http://x:99999", "http://[::1", "http://x/ y", "http://x/\u00e9"]
)
def test_what_is_no_url_is_told_with_an_example(folder: Path, url: str) -> None:
    with pytest.raises(PublishError, match=r"DASH_WS_HUB_URL is .*; write http://10\.0\.0\.7:8765"):
        find({URL_VARIABLE: url, **OTHER})


def test_a_password_in_the_url_is_not_shown(folder: Path) -> None:
    assert find({URL_VARIABLE: "http://me:secret@hub:1", **OTHER}).url == "http://hub:1"


@pytest.mark.parametrize(
    ("listen", "place"),
    [
        ("127.0.0.1:9001", Place("127.0.0.1", 9001)),
        ("'*:9001'", Place("127.0.0.1", 9001)),
        ("0.0.0.0:9001", Place("127.0.0.1", 9001)),
        ("'[::]:9001'", Place("::1", 9001)),
        ("localhost:9001", Place("localhost", 9001)),
    ],
)
def test_the_config_file_of_the_working_directory_says_where_the_service_listens(
    folder: Path, listen: str, place: Place
) -> None:
    written(folder, f"listen: {listen}, hub: {{max_publication: 2KiB}}")
    found = find({})
    assert (found.place, found.api_key, found.most) == (place, API_KEY, 2048)


def test_a_unix_socket_and_the_key_are_relative_to_the_config_file(folder: Path, tmp_path: Path) -> None:
    app = tmp_path / "app"
    app.mkdir()
    path = written(app, "listen: 'unix:run/api.sock'")
    found = find({CONFIG_VARIABLE: str(path)})
    assert found.place == Place("", 0, path=str(app / "run" / "api.sock"))
    assert found.api_key == API_KEY


def test_a_key_of_the_api_that_is_written_is_used(folder: Path) -> None:
    written(folder, "hub: {api_key: a-key-of-the-api-that-is-long}", key=None)
    assert find({}).api_key == "a-key-of-the-api-that-is-long"


def test_the_environment_may_name_the_address_alone(folder: Path) -> None:
    written(folder)
    assert find({URL_VARIABLE: "http://127.0.0.1:7"}).place == Place("127.0.0.1", 7)


def test_a_port_that_is_free_is_not_in_the_file_and_the_message_says_where_it_is(folder: Path) -> None:
    written(folder, "listen: '127.0.0.1:0'")
    with pytest.raises(PublishError, match="only in the log of the service; write a port, or set DASH_WS_HUB_URL"):
        find({})
    assert find({URL_VARIABLE: "http://127.0.0.1:9000"}).place == Place("127.0.0.1", 9000)


def test_a_script_in_another_folder_is_told_which_variable_to_set(folder: Path) -> None:
    with pytest.raises(PublishError) as caught:
        find({})
    assert f"There is no config.yaml in {folder}: set DASH_WS_PROXY_CONFIG to the path" in str(caught.value)
    assert not (folder / "run").exists()


def test_a_url_without_a_key_is_told(folder: Path) -> None:
    with pytest.raises(PublishError, match=f"{URL_VARIABLE} is set, and the key is missing: set {KEY_VARIABLE}"):
        find({URL_VARIABLE: "http://127.0.0.1:7"})


@pytest.mark.parametrize("what", ["key", "folder"])
def test_what_may_not_be_looked_at_raises_nothing_else(
    folder: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Callbacks of a Dash that runs as another user than the service, or whose working directory was removed."""

    def denied(*arguments: object, **keywords: object) -> None:
        raise PermissionError(13, "Permission denied")

    if what == "key":
        monkeypatch.setattr("ws_service.hub.keys.make_folder", denied)
        monkeypatch.setattr(Path, "lstat", denied)
    else:
        monkeypatch.setattr(Path, "cwd", denied)
    with pytest.raises(PublishError, match="the hub has no key.*denied" if what == "key" else "the hub is not found"):
        find({})


def test_mistakes_in_the_config_file_are_told(folder: Path) -> None:
    written(folder, "lisen: 1")
    with pytest.raises(PublishError, match=r"config.yaml:1:\d+: ws_service.lisen"):
        find({})


def test_a_key_that_cannot_be_read_is_told(folder: Path) -> None:
    written(folder, key=None)
    (folder / "run" / "hub.key").mkdir(parents=True)
    with pytest.raises(PublishError, match=r"hub\.key"):
        find({})


def test_an_address_that_is_not_found_is_looked_for_again_after_a_while(folder: Path) -> None:
    addresses = HubAddresses()
    with pytest.raises(PublishError):
        addresses.get(100)
    written(folder)
    with pytest.raises(PublishError):
        addresses.get(100 + AGAIN / 2)
    assert addresses.get(100 + AGAIN).api_key == API_KEY


def test_a_key_that_the_hub_has_refused_is_read_again(folder: Path) -> None:
    written(folder, key="an-old-key-" * 4)
    addresses = HubAddresses()
    old = addresses.get(0)
    written(folder)
    assert addresses.get(AGAIN) == old
    addresses.forget()
    assert addresses.get(AGAIN + 1).api_key == API_KEY


def test_no_secret_is_shown() -> None:
    assert API_KEY not in repr(find({URL_VARIABLE: "http://h:1", **OTHER}))
    with pytest.raises(PublishError, match="no URL of a service") as caught:
        find({URL_VARIABLE: "httpz://ada:hush@h:1", **OTHER})
    assert "hush" not in str(caught.value)
