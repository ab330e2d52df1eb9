"""The demo as ``make run`` starts it, in a real browser: every page, and what its buttons promise."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from playwright.sync_api import Page, expect

from tests.processes import ROOT, free_port, running
from tests.system.browser import Tab
from tests.system.hub.node import node_modules

pytestmark = pytest.mark.browser

PAGES = ("Telemetry", "Job", "Stream", "Table", "Presence", "Recovery")

REFUSED = r"ERR_CONNECTION_REFUSED|WebSocket connection to 'ws://[^']*' failed"
"""What a browser writes to its console while no program answers; no script can keep it from that."""

VIOLATIONS = """async () => (await axe.run()).violations.map(
    (each) => [each.id, each.help, ...each.nodes.map((node) => node.html + " " + node.failureSummary)])"""

WIDER = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"

POINTS = """() => {
    const plot = document.querySelector("#pulse .js-plotly-plot");
    return plot && plot.data ? plot.data[0].y.filter((y) => y !== null).length : 0;
}"""
"""How many values the first trace of the figure holds."""

JUMP = "() => JSON.stringify([...document.querySelectorAll('h1, .tile, .card')].map((e) => e.getBoundingClientRect()))"


class Demo:
    """The demo under ``Procfile.demo``, with the repository's config file on ports of its own."""

    def __init__(self, folder: Path) -> None:
        config = yaml.safe_load((ROOT / "config.yaml").read_text("utf-8"))
        ports = {name: free_port() for name in ("gateway", "admin", "dash", "ws")}
        at = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
        config["gateway"] |= {"listen": at["gateway"], "admin": at["admin"]}
        config["gateway"]["upstreams"] = {name: f"http://{at[name]}" for name in ("dash", "ws")}
        config["ws_service"]["listen"], config["dash_app"]["listen"] = at["ws"], at["dash"]
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        self.ports = ports
        self.url = f"http://{at['gateway']}"


@pytest.fixture(scope="module", params=["flask"])
def demo(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """The demo, on the backend that the test names, else on Flask.

    At the end Ctrl-C ends all of it within seconds, and nothing has complained.
    """
    folder = tmp_path_factory.mktemp("demo")
    made = Demo(folder)
    env = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "BACKEND": getattr(request, "param", ""),
    }
    honcho = ("honcho", "start", "-f", ROOT / "Procfile.demo", "-d", folder)
    with running(*honcho, ready="INFO Dash .* at /", cwd=folder, env=env) as process:
        process.wait_for("takes WebSockets over")
        yield made
        process.send(signal.SIGINT)
        assert process.wait(8) == 130
        assert "Traceback" not in process.output, process.output


@pytest.fixture
def page(demo: Demo, tab: Tab) -> Page:
    """A page that is opened at the demo, and asks nothing of any other address."""
    asked: list[str] = []
    tab.page.on("request", lambda request: asked.append(request.url))
    tab.page.on("websocket", lambda socket: asked.append(socket.url.replace("ws://", "http://")))
    tab.page.goto(demo.url)
    expect(tab.page.locator("#state")).to_have_text("live")
    assert all(url.startswith((demo.url, "data:", "blob:")) for url in asked), asked
    return tab.page


def visit(page: Page, name: str) -> None:
    page.click(f"nav >> text={name}")
    expect(page.locator(f"nav [aria-current] >> text={name}")).to_be_visible()
    expect(page).to_have_title(f"{name} · dash-ws-proxy")


def number(page: Page, name: str) -> float:
    return float(re.sub("[^0-9.]", "", page.inner_text(f"#{name}")) or "nan")


def counts(page: Page, name: str, most: int) -> None:
    page.wait_for_function(f"() => Number(document.getElementById('{name}').textContent) >= {most}")


def test_every_page_is_accessible_light_and_dark_and_fits_every_width(page: Page) -> None:
    """axe-core finds nothing, and nothing scrolls sideways from 320 to 1280 px."""
    axe = node_modules() / "axe-core" / "axe.min.js"
    page.add_script_tag(path=axe)
    for name in PAGES:
        visit(page, name)
        if name == "Telemetry":
            page.wait_for_function(f"({POINTS})() >= 20")
        if name == "Table":
            expect(page.locator(".ag-row")).to_have_count(10)
        for width in (320, 601, 800, 1001, 1280):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate(WIDER) == 0, f"{name} at {width} px"
        page.emulate_media(color_scheme="light")
        assert page.evaluate(VIOLATIONS) == [], f"{name}, light"
        page.emulate_media(color_scheme="dark")
        assert page.evaluate(VIOLATIONS) == [], f"{name}, dark"


def test_the_figures_are_live_and_the_numbers_move_nothing(page: Page) -> None:
    page.wait_for_function(f"({POINTS})() >= 10")
    expect(page.locator("#summary")).to_contain_text("round trip ")
    expect(page.locator("#rate")).to_contain_text(" Hz")
    expect(page.locator("#latency")).to_contain_text(" ms")
    expect(page.locator("#deliveries")).to_contain_text("/s")
    assert 0 < number(page, "round-trip") < 1000
    for width in (901, 1001):
        page.set_viewport_size({"width": width, "height": 800})
        before, points = page.evaluate(JUMP), page.evaluate(POINTS)
        page.wait_for_function(f"({POINTS})() >= {points + 5}")
        assert page.evaluate(JUMP) == before, f"at {width} px"


def test_two_pages_follow_a_job_an_answer_and_each_other(page: Page, tab: Tab) -> None:
    visit(page, "Presence")
    expect(page.locator("#count")).to_have_text("1 open page")
    other = page.context.new_page()
    other.goto(page.url)
    expect(page.locator("#clients li")).to_have_count(2)

    visit(page, "Job")
    visit(other, "Job")
    page.click("#job")
    for one in (page, other):
        expect(one.locator("#told")).to_have_text(re.compile(r"^[1-9]\d? %, says process \d+$"))
        assert 0 < float(one.get_attribute("#bar", "value") or 0) < 100
    visit(page, "Recovery")
    page.click("text=Restart Dash")  # what it has started goes on
    expect(page.locator("#events")).to_contain_text("Dash is process ")
    expect(other.locator("#told")).to_contain_text("100 %")

    visit(page, "Stream")
    visit(other, "Stream")
    page.click("#answer")
    for one in (page, other):
        expect(one.locator("#text")).to_contain_text("that it has missed.")
    assert page.inner_text("#text") == other.inner_text("#text")

    visit(page, "Table")
    before = page.inner_text(".ag-center-cols-container")
    page.wait_for_function(
        "(before) => document.querySelector('.ag-center-cols-container').innerText !== before", arg=before
    )
    other.close()
    visit(page, "Presence")
    expect(page.locator("#count")).to_have_text("1 open page")


@pytest.mark.parametrize("demo", ["flask", "fastapi"], indirect=True)
def test_what_the_buttons_of_the_recovery_page_promise(page: Page, tab: Tab) -> None:
    tab.forgive(REFUSED)
    visit(page, "Recovery")
    counts(page, "got", 5)
    events = page.locator("#events")

    page.click("text=Cut my sockets")
    expect(events).to_contain_text("/connection/websocket closed, code 4000")
    expect(events).to_contain_text("/connection/websocket opened")

    page.evaluate("window.samePage = true")
    got = int(number(page, "got"))
    with page.expect_request("**/_dash-update-component*") as sent:
        page.click("text=Restart Dash")
    expect(page.locator("#said")).to_contain_text("It comes back by itself.")
    expect(events).to_contain_text("Dash is process ")
    page.click("text=Restart the gateway")
    expect(events).to_contain_text("The gateway is process ")
    counts(page, "got", got + 20)
    closed = [line for line in events.inner_text().splitlines() if "closed" in line]
    assert all("code 4000" in line for line in closed), "the sockets stay"
    assert (number(page, "missing"), number(page, "twice")) == (0, 0)

    strange = {"Content-Type": "application/json", "Origin": "https://evil.example"}
    answer = page.request.post(sent.value.url, data=sent.value.post_data, headers=strange)
    assert "own page" in answer.text(), "the button's request, from a page of another site"

    dash = re.findall(r"Dash is process (\d+)", events.inner_text())[0]
    os.kill(int(dash), signal.SIGKILL)
    expect(events).to_contain_text(re.compile(rf"Dash is process (?!{dash}).*Dash is process {dash}", re.DOTALL))

    page.click("text=Restart the service")
    expect(events).to_contain_text("The service is process ")
    got = int(number(page, "got"))
    counts(page, "got", got + 10)
    assert number(page, "twice") == 0
    assert page.evaluate("window.samePage"), "nothing has loaded the page anew"
    visit(page, "Telemetry")
    expect(page.locator("#state")).to_have_text("live")
