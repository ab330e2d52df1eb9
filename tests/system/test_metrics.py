"""/metrics of the real gateway: what Prometheus' own tool says of it, and that no client can make it grow."""

from __future__ import annotations

import json
import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.processes import ROOT, free_port, running
from tests.programs import program
from tests.prometheus import alerts, expressions, promtool
from tests.system.conftest import MakeGateway
from tests.system.gateway import Gateway, running_gateway, serving
from tests.system.handoff import hear, open_socket, running_service, say
from tests.wire.connection import DEADLINE, Wire
from tests.wire.messages import Message, answer, handshake, request

ROUTES = 400
"""More than any configuration needs, and more than there are series for."""

REQUESTS = 3000


def any_code(wire: Wire) -> None:
    """Answer each request with the status that its path ends in."""
    while True:
        asked = Message(wire.read_head())
        status = asked.line.split()[1].rpartition("/")[2]
        wire.send(answer(f"{status} Made Up"))


@pytest.fixture
def gateway(make_gateway: MakeGateway) -> Iterator[Gateway]:
    routes = [{"path": f"/r{number}", "to": "dash"} for number in range(ROUTES)]
    with serving(any_code) as dash:
        yield make_gateway(dash=dash, routes=routes, access_log="off", trusted_proxies=["127.0.0.1"])


def scrape(gateway: Gateway) -> str:
    with Wire(socket.create_connection(("127.0.0.1", gateway.admin_port), timeout=DEADLINE)) as wire:
        wire.send(request("GET /metrics", host="127.0.0.1"))
        message = wire.read_message()
    assert message.status == 200
    assert message.get("Content-Type") == "text/plain; version=0.0.4; charset=utf-8"
    return message.body.decode()


def value(text: str, name: str, **labels: str) -> float | None:
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                return sample.value
    return None


def test_hostile_input_makes_few_series_and_prometheus_tool_finds_nothing(gateway: Gateway) -> None:
    """Methods and codes that do not exist, more routes than there are series for, many clients."""
    before = len(scrape(gateway).splitlines())
    with gateway.dial() as wire:
        for begin in range(0, REQUESTS, 50):
            for n in range(begin, begin + 50):
                method = ("GET", "POST", f"M{n}", "PROPFIND", "HEAD")[n % 5]
                client = f"X-Forwarded-For: 10.{n >> 16}.{n >> 8 & 255}.{n & 255}"
                path = f"/r{n % ROUTES}/user-{n}/{200 + n % 400}?token={n}"
                wire.send(request(f"{method} {path}", client, *(("Content-Length: 0",) if method == "POST" else ())))
                wire.read_message(has_body=method != "HEAD")
    text = scrape(gateway)
    samples = [line for line in text.splitlines() if not line.startswith("#")]
    assert len(samples) < 2_100 + 2 * 65 * 17 + 150, "requests, two histograms for each route, and all the rest"
    assert value(text, "dashws_event_loop_lag_seconds_count")
    counted = [
        s for f in text_string_to_metric_families(text) for s in f.samples if s.name == "dashws_http_requests_total"
    ]
    assert sum(sample.value for sample in counted) == REQUESTS
    assert {sample.labels["method"] for sample in counted} == {"GET", "POST", "HEAD", "_OTHER"}
    assert before < 150
    for secret in ("user-", "token", "10.0.", "PROPFIND", "/r1"):
        assert secret not in text
    assert promtool("check", "metrics", text=text) == ""


def test_websockets_are_told_by_their_way_and_limits_and_holds_by_what_became_of_them(tmp_path: Path) -> None:
    dash = free_port()
    with (
        running_service(tmp_path) as service,
        running_gateway(
            tmp_path,
            dash=f"http://127.0.0.1:{dash}",
            ws=service.url,
            handoff=str(service.socket_file),
            limits={"websockets_per_client": 1},
        ) as gateway,
    ):

        def told(name: str, **labels: str) -> float | None:
            return value(scrape(gateway), name, **labels)

        gateway.process.wait_for("takes WebSockets over")
        client = open_socket(gateway)
        gateway.process.wait_for("handed off")
        handed = {"upstream": "ws", "path_mode": "handoff"}
        assert told("dashws_websocket_open", **handed) == told("dashws_websocket_opened_total", **handed) == 1
        assert told("dashws_handoffs_total", result="handed_over") == 1
        assert gateway.ask(handshake("/echo")).status == 429
        assert told("dashws_limit_hits_total", limit="websockets_per_client") == 1
        say(client, "bytes")
        assert hear(client) == "bytes"
        client.close()
        gateway.process.wait_for("hand-off closed")
        assert told("dashws_websocket_open", **handed) == 0
        assert told("dashws_websocket_closed_total", **handed, cause="client_closed") == 1
        assert (told("dashws_bytes_total", direction="received") or 0) > 5

        assert gateway.ask(handshake("/refused")).status == 401
        gateway.process.wait_for("401 hand-off closed")
        assert told("dashws_websocket_closed_total", cause="refused") == 1
        assert told("dashws_http_requests_total", upstream="ws", code="401") == 1

        waiting = gateway.dial()
        waiting.send(request("GET /200"))
        gateway.process.wait_for("the upstream dash is unreachable")
        assert told("dashws_upstream_up", upstream="dash") == 0
        with serving(any_code, port=dash):
            assert waiting.read_message().status == 200
        assert told("dashws_holds_total", upstream="dash", result="resumed") == 1
        assert told("dashws_upstream_up", upstream="dash") == 1


def test_a_reload_that_is_refused_is_told_and_one_that_succeeds_too(gateway: Gateway) -> None:
    assert value(scrape(gateway), "dashws_config_last_reload_successful") == 1
    began = value(scrape(gateway), "dashws_config_last_reload_success_timestamp_seconds")
    path = Path(gateway.process.argv[-1])
    good = path.read_text()
    path.write_text(good.replace('"access_log": "off"', '"access_log": "loud"'))
    gateway.process.send(signal.SIGHUP)
    gateway.process.wait_for("the one before stays in force")
    assert value(scrape(gateway), "dashws_config_last_reload_successful") == 0
    path.write_text(json.dumps({"gateway": json.loads(good)["gateway"] | {"access_log": "json"}}))
    gateway.process.send(signal.SIGHUP)
    gateway.process.wait_for("the configuration was read again")
    text = scrape(gateway)
    assert value(text, "dashws_config_last_reload_successful") == 1
    ended = value(text, "dashws_config_last_reload_success_timestamp_seconds")
    assert began is not None and ended is not None and ended > began


def test_a_scrape_in_the_drain_says_that_the_process_is_not_ready(make_gateway: MakeGateway) -> None:
    with serving(any_code) as dash:
        gateway = make_gateway(dash=dash, timeouts={"drain_notice": "30s"})
        assert value(scrape(gateway), "dashws_ready") == 1
        gateway.process.send(signal.SIGTERM)
        gateway.process.wait_for("not ready any more")
        assert value(scrape(gateway), "dashws_ready") == 0
        assert re.search(r"^dashws_build_info\{", scrape(gateway), re.MULTILINE)
        gateway.process.send(signal.SIGTERM)


DASHBOARD = json.loads((ROOT / "deploy/grafana/dashboard.json").read_text("utf-8"))


def test_prometheus_tool_reads_every_expression_of_the_dashboard_and_the_alerts() -> None:
    rules = [{"record": f"panel:{n}", "expr": expression} for n, expression in enumerate(expressions(DASHBOARD))]
    rules += [{"alert": name, "expr": expression} for name, expression in alerts().items()]
    said = promtool("check", "rules", text=json.dumps({"groups": [{"name": "all", "rules": rules}]}))  # JSON is YAML
    assert f"{len(rules)} rules found" in said


def test_prometheus_scrapes_the_gateway_and_the_dashboard_has_rate_errors_and_duration(
    gateway: Gateway, tmp_path: Path
) -> None:
    port = free_port()
    targets = [{"targets": [f"127.0.0.1:{gateway.admin_port}"]}]
    scraped = {
        "job_name": "dash-ws-proxy",
        "scrape_interval": "200ms",
        "scrape_timeout": "200ms",
        "static_configs": targets,
    }
    (tmp_path / "prometheus.yml").write_text(json.dumps({"scrape_configs": [scraped]}))
    argv = [program("prometheus"), f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data"]
    listen = f"--web.listen-address=127.0.0.1:{port}"

    def ask(expression: str) -> list[str]:
        """Return the values of an expression now."""
        query = urlencode({"query": expression})
        with urlopen(f"http://127.0.0.1:{port}/api/v1/query?{query}", timeout=DEADLINE) as response:
            answered = json.load(response)
        assert answered["status"] == "success", expression
        return [sample["value"][1] for sample in answered["data"]["result"]]

    with (
        running(*argv, listen, ready="Server is ready to receive web requests", cwd=tmp_path) as process,
        gateway.dial() as wire,
    ):
        deadline = time.monotonic() + DEADLINE
        while ask("sum(rate(dashws_http_requests_total[1m])) > 0") == []:
            assert time.monotonic() < deadline, process.output
            for code in (200, 200, 200, 502):
                wire.send(request(f"GET /{code}"))
                wire.read_message()
        rate, errors, first_byte, *others = [ask(expression) for expression in expressions(DASHBOARD)]
        assert float(rate[0]) > 0
        assert 0 < float(errors[0]) < 1
        assert 0 < float(first_byte[0]) < 1
        assert sum(bool(values) for values in others) > 20, "the service's are empty"
        assert ask(alerts()["ErrorsOfTheGateway"])
        assert not ask(alerts()["ConfigurationRefused"])
