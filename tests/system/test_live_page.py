"""Live pages in a real browser: Dash under gunicorn, the hub, the gateway; nothing lost, nothing twice."""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.system.browser import QUIET, TIMEOUT, Tab, executable
from tests.system.hub.relay import Relay, running_relay
from tests.system.hub.tokens import subscription_token
from tests.system.live_page import OFFLINE, Site, opened, points, running_site, wait_for_count

pytestmark = pytest.mark.browser

MARK = ".dash-hub-mark"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site(tmp_path_factory.mktemp("site")) as site:
        yield site


@contextmanager
def more_tabs(chromium: Browser, count: int) -> Iterator[list[Page]]:
    tabs = [Tab(chromium) for _ in range(count)]
    yield [tab.page for tab in tabs]
    for tab in tabs:
        tab.close()
    assert [tab.complaints for tab in tabs] == [[]] * count


@pytest.fixture
def relayed(site: Site) -> Iterator[Relay]:
    """A road to the gateway that can be cut."""
    with running_relay(site.hub.gateway.port) as relay:
        yield relay


def through(relay: Relay, site: Site) -> str:
    return f"http://127.0.0.1:{relay.port}{site.prefix}"


def test_a_publish_from_another_process_reaches_all_tabs(site: Site, chromium: Browser, tab: Tab) -> None:
    with more_tabs(chromium, 2) as others:
        pages = [opened(page, site.url) for page in (tab.page, *others)]
        site.publish_elsewhere("prices", '{"AAPL": 189.2}')
        for page in pages:
            expect(page.locator("#shown")).to_have_text('{"AAPL":189.2}')
        expect(tab.page.locator("#served")).to_have_text("the server knows: open")


def test_a_late_tab_shows_the_newest_value_at_once(site: Site, tab: Tab) -> None:
    site.publish_all("prices", [{"AAPL": 1}, {"AAPL": 2}])
    tab.page.goto(site.url)
    expect(tab.page.locator("#shown")).to_have_text('{"AAPL":2}')


def test_every_component_begins_with_the_history_and_goes_on_once(site: Site, tab: Tab) -> None:
    site.publish_all("kept:points", [{"x": i, "y": i} for i in range(20)])
    site.publish_all("kept:log", ["one\n", "two\n"])
    site.publish_all("kept:rows", [{"add": [{"id": "a", "price": 1}, {"id": "b", "price": 2}]}])
    sockets: list[str] = []
    tab.page.on("websocket", lambda socket: sockets.append(socket.url))
    page = opened(tab.page, site.url)
    page.wait_for_function("document.querySelector('#graph .js-plotly-plot')?.data[0].y.length >= 20")
    site.publish_all("kept:points", [{"x": i, "y": i} for i in range(20, 700)])
    site.publish_all("kept:log", ["three\n"])
    site.publish_all("kept:rows", [{"update": [{"id": "a", "price": 3}]}, {"remove": [{"id": "b"}]}])
    page.wait_for_function("document.querySelector('#graph .js-plotly-plot').data[0].y.at(-1) === 699")
    expect(page.locator("#log")).to_have_text("one\ntwo\nthree\n", use_inner_text=False)

    page.click("#to-other")
    expect(page.locator("h2")).to_have_text("other")
    site.publish_all("cell:1", [{"value": {"text": "deep"}}])
    expect(page.locator("#cells")).to_have_text("- deep")
    site.publish_all("cell:1", [{"value": 5}])
    site.publish_all("cell:0", [{"value": {"text": "other"}}])
    expect(page.locator("#cells")).to_have_text("other deep")
    page.click("#to-home")
    expect(page.locator("#log")).to_have_text("one\ntwo\nthree\n")
    page.wait_for_function("document.querySelector('#graph .js-plotly-plot')?.data[0].y.length >= 500")
    site.publish_all("kept:log", ["four\n"])
    expect(page.locator("#log")).to_have_text("one\ntwo\nthree\nfour\n")
    assert points(page) == list(range(200, 700)), "max_points, of more history than the hub gives at once"
    if page.locator("#grid").count():
        page.wait_for_function(
            "JSON.stringify(dash_ag_grid.getApi('grid').getRenderedNodes().map(n => n.data))"
            """ === '[{"id":"a","price":3}]'"""
        )
    assert len(sockets) == 1, "a navigation opens no second connection"


def test_a_burst_while_its_component_is_on_another_page_is_whole(site: Site, tab: Tab) -> None:
    page = opened(tab.page, site.url)
    page.click("#to-other")
    expect(page.locator("h2")).to_have_text("other")
    site.publish_all("kept:shelf", list(range(1000)))
    site.publish_all("cell:0", [{"value": {"text": "after"}}])
    expect(page.locator("#cells")).to_contain_text("after")
    assert page.evaluate("window.shelf") is None
    page.click("#to-home")
    assert wait_for_count(page, "shelf", 1000) == list(range(1000))
    expect(page.locator("#shelf-live-state")).to_have_text("open 0")
    site.publish_all("kept:shelf", [1000])
    assert wait_for_count(page, "shelf", 1001)[-1] == 1000, "the connection is alive"


def test_a_tab_that_was_offline_for_ten_seconds_gets_every_message_in_order(
    site: Site, relayed: Relay, tab: Tab
) -> None:
    tab.forgive(OFFLINE)
    page = opened(tab.page, through(relayed, site))
    site.publish_all("kept:numbers", list(range(10)))
    wait_for_count(page, "numbers", 10)
    relayed.close()
    site.publish_all("kept:numbers", list(range(10, 500)))
    mark = page.locator(MARK)
    expect(mark).to_have_text("Reconnecting…")
    assert mark.get_attribute("role") == "status"
    page.wait_for_timeout(10_000)  # the promise's own time
    site.publish_all("prices", [{"AAPL": 7}])
    relayed.open()
    assert wait_for_count(page, "numbers", 500, 3 * TIMEOUT) == list(range(500))
    expect(page.locator("#shown")).to_have_text('{"AAPL":7}')
    expect(page.locator("#live-state")).to_have_text("recovered 0")
    expect(mark).to_have_text("")


def test_ten_thousand_messages_over_broken_sockets_are_each_there_once(site: Site, relayed: Relay, tab: Tab) -> None:
    tab.forgive(OFFLINE)
    page = opened(tab.page, through(relayed, site))
    seed = random.randrange(1 << 32)
    print("seed", seed)  # of a failure
    chance, count = random.Random(seed), 10_000
    sender = threading.Thread(target=send_slowly, args=(site, count), name="sender")
    sender.start()
    cuts = 0
    while sender.is_alive():
        page.wait_for_timeout(chance.uniform(100, 700))
        relayed.cut()
        cuts += 1
    sender.join()
    numbers = wait_for_count(page, "numbers", count, 3 * TIMEOUT)
    assert numbers == list(range(count)), f"{len(numbers)}, {len(set(numbers))} different"
    assert cuts >= 5
    assert page.locator("#numbers-live-state").inner_text().endswith(" 0"), "no gap"


def send_slowly(site: Site, count: int) -> None:
    for first in range(0, count, 100):
        site.publish_all("kept:numbers", list(range(first, first + 100)))
        threading.Event().wait(0.05)


def test_messages_that_are_lost_are_told_and_the_rest_is_shown(site: Site, relayed: Relay, tab: Tab) -> None:
    tab.forgive(OFFLINE)
    page = opened(tab.page, through(relayed, site))
    page.evaluate("dashHub.mark(false)")
    site.publish_all("few:log", [0, 1])
    wait_for_count(page, "few", 2)
    relayed.close()
    site.publish_all("few:log", list(range(2, 20)))
    expect(page.locator("#few-live-state")).to_have_text("connecting 0")
    page.wait_for_timeout(2_000)  # the mark would be there by now
    expect(page.locator(MARK)).to_have_text("")
    relayed.open()
    expect(page.locator("#few-live-state")).to_have_text("gap 1")
    assert wait_for_count(page, "few", 7) == [0, 1, 15, 16, 17, 18, 19]
    expect(page.locator("#numbers-live-state")).to_have_text("recovered 0")


def test_a_page_publishes_where_the_namespace_lets_it(site: Site, chromium: Browser, tab: Tab) -> None:
    listen = """() => { window.heard = [];
        dashHub.on("open:chat", (data) => heard.push(data), {history: 10}); }"""
    with more_tabs(chromium, 1) as others:
        for page in (tab.page, others[0]):
            opened(page, site.url).evaluate(listen)
            page.wait_for_function("dashHub.state('open:chat') === 'open'")
        tab.page.evaluate("dashHub.publish('open:chat', 'hello')")
        for page in (tab.page, others[0]):
            assert wait_for_count(page, "heard", 1) == ["hello"]
        refused = tab.page.evaluate("dashHub.publish('prices', 1).catch((error) => error.code)")
        assert refused == 103


def test_functions_of_the_page_get_each_message_and_may_fail(site: Site, tab: Tab) -> None:
    tab.forgive("a function of dashHub.on")
    sent: list[str] = []
    tab.page.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(str(frame))))
    page = opened(tab.page, site.url)
    page.evaluate(
        """() => { window.ticks = [];
        dashHub.on("ticks", () => { throw new Error("mine"); });
        window.end = dashHub.on("ticks", (data, info) => ticks.push(data + info.topic.length)); }"""
    )
    page.wait_for_function("dashHub.state('ticks') === 'open'")
    assert len([each for each in sent if '"subscribe":{"channel":"ticks"' in each]) == 1, "of a Live and two functions"
    site.publish_all("ticks", [10, 20])
    assert wait_for_count(page, "ticks", 2) == [15, 25]
    assert page.evaluate("dashHub.state()") == "open"
    page.evaluate("end()")
    site.publish_all("ticks", [30])
    site.publish_all("prices", [{"AAPL": 30}])
    expect(page.locator("#shown")).to_have_text('{"AAPL":30}')
    assert page.evaluate("ticks") == [15, 25]


def test_refused_and_expired_topics_are_told_apart(site: Site, tab: Tab) -> None:
    page = opened(tab.page, site.url)
    expect(page.locator("#closed-state")).to_have_text("refused 0")
    token = subscription_token("secret", lasts=-3600)
    page.evaluate("token => dashHub.on('secret', () => {}, {token})", token)
    page.wait_for_function("dashHub.state('secret') === 'expired'")
    fresh = subscription_token("secret", lasts=3600)
    page.evaluate("token => dashHub.on('secret', () => {}, {token})", fresh)
    page.wait_for_function("dashHub.state('secret') === 'open'")


def test_an_expired_token_is_replaced_by_the_one_of_a_new_layout(site: Site, tab: Tab) -> None:
    page = tab.page

    def with_an_old_token(route: Route) -> None:
        answer = route.fetch()
        old = subscription_token("prices", lasts=-3600)
        layout = re.sub(r'("topic":"prices".*?"token":")[^"]+', rf"\g<1>{old}", answer.text(), count=1)
        route.fulfill(response=answer, body=layout)

    page.route("**/_dash-layout", with_an_old_token, times=1)
    with page.expect_request_finished(lambda request: request.url.endswith("/_dash-layout")):
        page.goto(site.url)
    site.publish_all("prices", [{"AAPL": 31}])
    expect(page.locator("#shown")).to_have_text('{"AAPL":31}')
    expect(page.locator("#live-state")).to_have_text("open 0")


def test_presence_follows_the_tabs(site: Site, chromium: Browser, tab: Tab) -> None:
    with more_tabs(chromium, 1) as others:
        opened(others[0], site.url)
        expect(opened(tab.page, site.url).locator("#present")).to_have_text("2")
        expect(others[0].locator("#present")).to_have_text("2")
    expect(tab.page.locator("#present")).to_have_text("1")


def test_a_page_comes_back_from_the_cache_of_the_browser(site: Site, chromium: Browser) -> None:
    """From the back/forward cache: the page as it was left, whose socket the browser would have closed."""
    browser = chromium.browser_type.launch(
        executable_path=executable(), args=list(QUIET), ignore_default_args=["--disable-back-forward-cache"]
    )
    page = opened(browser.new_page(), site.url)
    page.evaluate("addEventListener('pageshow', (event) => { window.isCached = event.persisted; })")
    page.goto(f"{site.url}_dash-layout")
    site.publish_all("kept:numbers", [1, 2, 3])
    # Playwright waits for a load, and a page of the cache has none.
    page.evaluate("setTimeout(() => history.back(), 0)")
    page.wait_for_function("window.isCached === true")
    assert wait_for_count(page, "numbers", 3) == [1, 2, 3]
    expect(page.locator("#numbers-live-state")).to_have_text("recovered 0")
    expect(page.locator("#few-live-state")).to_have_text("recovered 0")
    assert page.locator("#live-state").inner_text() in ("recovered 0", "open 0"), "nothing was missed"
    browser.close()
