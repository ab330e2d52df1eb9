"""``examples/per-user``: a message is in the pages of its user, and no visitor can become another user."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.examples.example import Example, running_example
from tests.system.browser import Tab

pytestmark = pytest.mark.browser

PASSWORD = "a password of seven words, or of six"

LISTEN = """topic => new Promise(resolve => {
    window.heard = [];
    dashHub.on(topic, message => window.heard.push(message), {history: 10});
    const timer = setInterval(() => dashHub.state(topic) === "refused" && resolve(clearInterval(timer)), 20);
})"""
"""Subscribe to a topic as a hostile script would, and wait until it is refused."""


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Example]:
    with running_example("per-user", tmp_path_factory.mktemp("x"), typed=PASSWORD + "\n") as example:
        yield example


@pytest.fixture
def other(chromium: Browser) -> Iterator[Tab]:
    """Another user's browser."""
    tab = Tab(chromium)
    yield tab
    tab.close()
    assert not tab.complaints


def log_in(page: Page, example: Example, name: str, password: str = PASSWORD) -> None:
    page.goto(example.url)
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()


def status(url: str, **fields: str) -> int:
    """Return what a client without a session gets; a redirect is followed."""
    request = urllib.request.Request(url, headers={name.replace("_", "-"): text for name, text in fields.items()})
    try:
        with urllib.request.urlopen(request) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_a_message_is_for_the_pages_of_one_user(example: Example, tab: Tab, other: Tab) -> None:
    ada, too, bob = tab.page, tab.another(), other.page
    tab.forgive("status of 403")  # of the wrong password
    log_in(ada, example, "ada", PASSWORD[1:])
    expect(ada.get_by_role("alert")).to_have_text("The name or the password is wrong.")
    log_in(ada, example, "ada")
    expect(ada.locator("h1")).to_have_text("Hello, ada")
    too.goto(example.url)
    log_in(bob, example, "bob")

    ada.get_by_role("button", name="Export my data").click()
    for page in (ada, too):
        expect(page.locator("#inbox")).to_have_text("Your export is ready.\n")

    bob.evaluate(LISTEN, "user:#ada")
    example.publish("user:#ada", '"And once more."')
    example.publish("user:#bob", '"For bob."')
    expect(bob.locator("#inbox")).to_have_text("For bob.")
    expect(ada.locator("#inbox")).to_contain_text("And once more.")
    assert bob.evaluate("window.heard") == []


def test_a_logout_ends_the_connections_of_all_pages(example: Example, tab: Tab) -> None:
    page, too = tab.page, tab.another()
    log_in(page, example, "ada")
    expect(page.locator("#inbox")).not_to_be_empty()
    with too.expect_websocket() as opened:
        too.goto(example.url)
    expect(too.locator("#inbox")).not_to_be_empty()
    with opened.value.expect_event("close"):
        page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("button", name="Log in")).to_be_visible()
    too.reload()
    expect(too.get_by_role("button", name="Log in")).to_be_visible()


def test_a_visitor_without_a_login_gets_the_login_page_alone(example: Example) -> None:
    as_ada = {"X_User": "ada"}
    for path in ("/_dash-layout", "/auth", "/connection/uni_sse?channels=user:%23ada", "/api/info"):
        assert status(example.url + path, **as_ada) == 401, path
    for path in ("/connection/websocket", "/login/connection/websocket"):
        with pytest.raises(InvalidStatus) as refused:
            connect(example.url.replace("http:", "ws:") + path, additional_headers={"X-User": "ada"})
        assert refused.value.response.status_code == 401
    assert status(example.url + "/login") == 200


def test_a_page_of_another_site_cannot_log_a_visitor_in(example: Example, tab: Tab) -> None:
    page = tab.page
    tab.forgive("status of 403")
    tab.forgive("favicon.ico")  # which the browser asks for after the refusal, without a session
    form = f'''<form method="post" action="{example.url}/login">
        <input name="name" value="bob"><input name="password" value="{PASSWORD}"><button>A kitten</button></form>'''
    page.set_content(form)
    with page.expect_response(f"{example.url}/login") as answered:
        page.get_by_role("button").click()
    assert answered.value.status == 403
    page.goto(example.url)
    expect(page.get_by_role("button", name="Log in")).to_be_visible()


def test_secrets_are_in_files_of_one_user_and_passwords_in_none(example: Example) -> None:
    for name in ("users.json", ".env"):
        assert (example.folder / name).stat().st_mode & 0o777 == 0o600, name
    assert PASSWORD not in (example.folder / "users.json").read_text()
