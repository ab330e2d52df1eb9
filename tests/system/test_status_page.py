"""The status page in Chromium, with 500 WebSockets open: what is seen and what is not run."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.processes import free_ports, network
from tests.system.browser import Tab
from tests.system.gateway import Gateway, running_gateway, serving
from tests.system.handoff import make_room_for, open_socket, running_service
from tests.wire.connection import Wire
from tests.wire.messages import answer, request, switching

pytestmark = pytest.mark.browser

APP = """
from fastapi import FastAPI, WebSocket

app = FastAPI()


@app.websocket("/{path:path}")
async def echo(websocket: WebSocket, path: str):
    await websocket.accept()
    async for message in websocket.iter_text():
        await websocket.send_text(message)
"""

HOSTILE = [
    "<script>document.title='owned'</script>",
    "<img src=x onerror=document.title='owned'>",
    '"onmouseover="document.title=1',
    "</td><h1>owned</h1>",
    "${alert(1)}{{7*7}}",
]
"""What clients write into paths and names."""

TUNNELS, SOCKETS = 20, 500

CONTRAST = """() => {
    const parse = (text) => text.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
        .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
        .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = (element) => {
        for (let e = element; e; e = e.parentElement) {
            const colour = parse(getComputedStyle(e).backgroundColor);
            if (colour.length === 3 || colour[3] === 1) return colour;
            if (colour[3] !== 0) throw new Error("half transparent: " + e.className);
        }
        return parse(getComputedStyle(document.documentElement).backgroundColor);
    };
    const ratio = (colour, element) => {
        const [a, b] = [light(parse(colour)), light(behind(element))].sort((x, y) => y - x);
        return (a + 0.05) / (b + 0.05);
    };
    const found = [];
    for (const element of document.querySelectorAll("body *")) {
        const style = getComputedStyle(element);
        if (!element.getClientRects().length || element.closest(".hidden")) continue;
        if (element.matches(".series")) {
            found.push(["line " + element.className.baseVal, ratio(style.stroke, element), 3]);
        }
        if (element.matches("input, select, button")) found.push(["border", ratio(style.borderTopColor, element), 3]);
        const own = [...element.childNodes].filter((n) => n.nodeType === 3 && n.textContent.trim());
        if (own.length && !element.closest("svg, option")) {
            found.push([own[0].textContent.trim().slice(0, 40), ratio(style.color, element), 4.5]);
        }
        const sign = getComputedStyle(element, "::before");
        if (sign.content !== "none" && sign.content !== "normal") {
            found.push(["before " + (own[0] || element).textContent.slice(0, 30), ratio(sign.color, element), 4.5]);
        }
    }
    return found;
}"""
"""Yields each text, line and border with its contrast (WCAG 2.2, 1.4.3 and 1.4.11), and what it has to be."""


def play(wire: Wire) -> None:
    """Dash: an answer to each request, and a 101 to each handshake, after which it says nothing; and one slow path."""
    while True:
        head = wire.read_head()
        is_handshake = b"upgrade: websocket" in head.lower()
        if is_handshake or b" /slow " in head:
            if is_handshake:
                wire.send(switching())
            wire.deadline = 300
            wire.read_to_cut()
            return
        wire.send(answer("404 Not Found" if b"/missing" in head else "200 OK", body=b"hi"))


def status_url(gateway: Gateway) -> str:
    return f"http://127.0.0.1:{gateway.admin_port}/status"


def status(gateway: Gateway, query: str = "") -> Any:
    with Wire(socket.create_connection(("127.0.0.1", gateway.admin_port), timeout=10)) as wire:
        wire.send(request(f"GET /status{query}", host="127.0.0.1"))
        return wire.read_message().json()


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with 500 WebSockets: most were handed over, some are tunnels, five are the hub's."""
    folder = tmp_path_factory.mktemp("busy")
    make_room_for(SOCKETS)
    hub = {"default": {"subscribe": "anyone"}}
    with serving(play) as dash, running_service(folder, app=APP, hub=hub) as service:
        settings: dict[str, Any] = {
            "handoff": str(service.socket_file),
            "routes": [{"path": "/tunnel", "to": "dash"}, {"path": "/api", "host": "app.example.com", "to": "dash"}],
        }
        with running_gateway(folder, dash=dash, ws=service.url, **settings) as gateway:
            gateway.process.wait_for("takes WebSockets over")
            for hostile in HOSTILE:
                open_socket(gateway, f"/connection/websocket?channels={quote(hostile)}&raw=1")
            for number in range(TUNNELS):
                path = HOSTILE[number] if number < len(HOSTILE) else f"room {number}"
                open_socket(gateway, f"/tunnel/{path.replace(' ', '-')}?token=SECRET")
            for number in range(SOCKETS - TUNNELS - len(HOSTILE)):
                open_socket(gateway, f"/live/{number}?token=SECRET")
            with gateway.dial() as client:
                for number in range(40):
                    client.send(request("GET /missing" if number % 8 == 0 else "GET /page"))
                    client.read_message()
            yield gateway


@contextmanager
def opened(chromium: Browser, url: str, width: int, scheme: str) -> Iterator[Page]:
    """Open the page; fails when it complains, or asks for anything but itself and its figures."""
    with network(changes=False):
        context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
        page, said, asked = context.new_page(), [], []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda one: asked.append(one.url.partition("?")[0]))
        page.goto(url)
        expect(page.get_by_role("table", name="Open WebSockets").get_by_role("row").first).to_be_visible()
        yield page
        context.close()
    assert said == []
    assert set(asked) == {url}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 800, 1280])
def test_every_text_can_be_read_and_nothing_is_cut(
    busy: Gateway, chromium: Browser, tmp_path: Path, width: int, scheme: str
) -> None:
    with opened(chromium, status_url(busy), width, scheme) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        found = page.evaluate(CONTRAST)
        assert len(found) > 300
        assert [one for one in found if one[1] < one[2]] == []
        for table in ("Upstreams", "Routes", "Open WebSockets", "Hub topics", "Clients with most WebSockets"):
            rows = page.get_by_role("table", name=table).get_by_role("row")
            expect(rows.last).to_be_visible()
            assert rows.last.get_by_role("cell").count() > 1
        page.screenshot(path=tmp_path / f"status-{scheme}-{width}.png", full_page=True)


def test_what_clients_have_written_is_text(busy: Gateway, chromium: Browser) -> None:
    with opened(chromium, f"{status_url(busy)}", 1280, "light") as page:
        page.locator("[name=find]").fill("/tunnel")
        sockets = page.get_by_role("table", name="Open WebSockets")
        expect(sockets.get_by_role("row")).to_have_count(TUNNELS + 1)
        text = sockets.inner_text()
        for hostile in HOSTILE:
            assert f"/tunnel/{hostile.replace(' ', '-')}".partition("?")[0] in text
        topics = page.get_by_role("table", name="Hub topics").inner_text()
        for hostile in HOSTILE:
            assert hostile in topics
        assert page.locator("table :not(thead, tbody, tr, th, td, span)").count() == 0
        assert page.locator("table [onmouseover], table [onerror]").count() == 0
        assert "SECRET" not in page.content()
        assert page.title() == "Gateway ready"


def test_sockets_are_looked_for_and_sorted(busy: Gateway, chromium: Browser) -> None:
    with opened(chromium, status_url(busy), 800, "light") as page:
        sockets = page.get_by_role("table", name="Open WebSockets")
        expect(page.locator("#sockets-count")).to_contain_text(
            f"{SOCKETS} are open: {TUNNELS} in tunnels, {SOCKETS - TUNNELS} handed over to the service. 50 are listed."
        )
        page.get_by_label("Show").select_option("newest")
        expect(sockets.get_by_role("row").nth(1)).to_contain_text(f"/live/{SOCKETS - TUNNELS - len(HOSTILE) - 1}")
        page.get_by_label("whose client or path contains").fill("/live/33")
        expect(sockets.get_by_role("row")).to_have_count(12)  # 33, 330 to 339, and the names of the columns
        page.get_by_label("whose client or path contains").fill("nothing of it")
        expect(page.get_by_text("No WebSocket is open, or none that was looked for.")).to_be_visible()


def test_the_figures_are_the_same_as_json(busy: Gateway) -> None:
    figures = status(busy, "?limit=500")
    shown = figures["sockets"]["shown"]
    assert len(shown) == SOCKETS
    assert sorted({one["kind"] for one in shown}) == ["handoff", "tunnel"]
    assert all(one["age"] >= 0 and one["idle"] is not None for one in shown)
    assert figures["routes"][0]["name"] == "routes[0]"
    (http,) = (row for row in figures["routes"] if row["name"] == "http")
    assert http["requests"] == 40
    assert figures["topics"]["total"] == len(HOSTILE)
    assert "SECRET" not in json.dumps(figures)
    assert figures["notices"] == []


FORMATS = {
    "count(1234.4)": "1,234",
    "count(null)": "\u2013",
    "rate(0.456)": "0.46/s",
    "rate(1234.5)": "1,235/s",
    "bytes(0)": "0 B",
    "bytes(1536)": "1.5 KiB",
    "bytes(3 * 1024 ** 4 * 1024)": "3,072 TiB",
    "seconds(0.0123)": "12.3 ms",
    "seconds(2.5)": "2.5 s",
    "latency(0.005, [0.005, 10])": "≤ 5 ms",
    "latency(10, [0.005, 10])": "≥ 10 s",
    "latency(0.25, [0.005, 10])": "250 ms",
    "age(59.9)": "59 s",
    "age(61)": "1 min 1 s",
    "age(7260)": "2 h 1 min",
    "age(200000)": "2 d 7 h",
    "niceMost(58, 1)": 60,
    "niceMost(100, 1)": 100,
    "niceMost(0.012, 1)": 0.015,
    "niceMost(3000, 1024 ** 4)": 3072,
}
"""Calls of the page's functions, and what a person reads."""


def test_figures_are_written_for_people_and_a_moment_is_shown_in_all_plots(busy: Gateway, chromium: Browser) -> None:
    with opened(chromium, status_url(busy), 1280, "light") as page:
        assert {call: page.evaluate(call) for call in FORMATS} == pytest.approx(FORMATS)
        graph = page.get_by_role("img", name="Open WebSockets: now all 500, in tunnels 20; highest 500")
        graph.hover(position={"x": 5, "y": 20})
        expect(page.locator("#moment")).to_contain_text(" ago")
        assert page.locator(".cursor[visibility=visible]").count() == 6
        page.mouse.move(1, 1)
        expect(page.locator("#moment")).to_be_empty()


def test_it_is_paused_by_a_button(busy: Gateway, chromium: Browser) -> None:
    with opened(chromium, status_url(busy), 800, "light") as page:
        button = page.get_by_role("button", name="Pause")
        button.click()
        expect(button).to_have_attribute("aria-pressed", "true")
        expect(page.locator("#fresh")).to_contain_text("paused")
        asked: list[str] = []
        page.on("request", lambda one: asked.append(one.url))
        page.wait_for_timeout(2500)  # longer than its period
        assert asked == []
        with page.expect_response(lambda response: response.ok):
            button.click()
        expect(page.locator("#fresh")).not_to_contain_text("paused")


def test_what_is_wrong_is_said_first_and_a_drain_is_seen_to_its_end(tab: Tab, tmp_path: Path) -> None:
    tab.forgive("ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE")
    page = tab.page
    with (
        serving(play) as ws,
        running_gateway(
            tmp_path,
            dash=ws,
            upstreams={"dash": [f"http://127.0.0.1:{port}" for port in free_ports(2)], "ws": ws},
            routes=[{"path": "/slow", "to": "ws"}],
            timeouts={"hold": "100ms", "drain": "60s"},
        ) as gateway,
    ):
        with gateway.dial() as asking:
            asking.send(request("GET /"))
            assert asking.read_message().status == 503
        gateway.dial().send(request("GET /slow"))
        page.goto(status_url(gateway))
        first = page.locator("#notices .notice").first
        expect(first).to_contain_text("The upstream dash is unreachable")
        expect(page.get_by_text("1 of 1 requests of the last minute got a 5xx (100 %).")).to_be_visible()
        expect(page).to_have_title("2 to look at: gateway ready")
        upstreams = page.get_by_role("table", name="Upstreams").get_by_role("row")
        expect(upstreams).to_have_count(5)  # the names of the columns, dash, its two addresses, ws
        expect(upstreams.nth(1)).to_contain_text("2 addresses")
        expect(upstreams.nth(2)).to_contain_text("unreachable")
        gateway.process.send(signal.SIGTERM)
        expect(page.locator("#state")).to_have_text("draining")
        expect(page.locator("#drain")).to_contain_text("1 left of 1")
        expect(page.get_by_role("progressbar", name="Requests that have ended")).to_be_visible()
        page.screenshot(path=tmp_path / "drain.png", full_page=True)
        gateway.process.send(signal.SIGTERM)
        gateway.process.wait()
        expect(page.locator("#fresh")).to_contain_text("the gateway does not answer; figures of")
        expect(page).to_have_title("No answer: the gateway does not answer")
