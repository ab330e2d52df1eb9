"""What a set-up is, as probes see it: addresses, places in the config, pages."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from proxy import config as gateway
from proxy.doctor.target import Skipped, Target
from ws_service.config import settings as service
from ws_service.config.file import ConfigFile


def target_of(folder: Path, url: str | None = None, **settings: object) -> Target:
    return Target(gateway.Settings.model_validate(settings), service.Settings(), folder, url=url)


def test_addresses_are_those_at_which_a_client_of_this_host_finds_the_programs(tmp_path: Path) -> None:
    def listening(listen: str, **settings: object) -> str | None:
        endpoint = target_of(tmp_path, listen=listen, **settings).gateway
        return endpoint and endpoint.address

    assert listening("127.0.0.1:8000") == "http://127.0.0.1:8000"
    assert listening("0.0.0.0:80") == "http://127.0.0.1:80"
    assert listening("*:80") == "http://127.0.0.1:80"
    assert listening("[::]:80") == "http://[::1]:80"
    assert listening("unix:run/a.sock") == f"unix:{tmp_path / 'run/a.sock'}"
    assert listening("127.0.0.1:443", tls={"certificate": "a.pem", "key": "b.pem"}) == "https://127.0.0.1:443"


def test_a_browser_connects_to_the_public_url_where_one_is_given(tmp_path: Path) -> None:
    target = target_of(tmp_path)
    with pytest.raises(Skipped, match="the gateway cannot be reached"):
        _ = target.browser_endpoint
    assert target.gateway is not None
    target.reachable.add(target.gateway)
    assert target.browser_endpoint is target.gateway
    target = target_of(tmp_path, "https://app.example.com/team/")
    with pytest.raises(Skipped, match="the public address cannot be used"):
        _ = target.browser_endpoint
    assert target.public is not None
    target.reachable.add(target.public)
    assert target.browser_endpoint is target.public
    assert target.public.origin == "https://app.example.com"
    with pytest.raises(Skipped, match="neither in the config nor known"):
        _ = target_of(tmp_path, listen="systemd").browser_endpoint
    target = target_of(tmp_path, proxy_protocol=True, trusted_proxies=["10.0.0.1"])
    with pytest.raises(Skipped, match="only a proxy can ask the gateway"):
        _ = target.browser_endpoint


def test_a_handshake_comes_from_a_site_that_may(tmp_path: Path) -> None:
    def origin_with(*origins: str) -> str:
        target = target_of(tmp_path, listen="127.0.0.1:8000", origins=origins)
        assert target.gateway is not None
        return target.own_origin(target.gateway)

    assert origin_with("same", "https://a.test") == "http://127.0.0.1:8000"
    assert origin_with("any") == "http://127.0.0.1:8000"
    assert origin_with("regex:.*", "https://a.test") == "https://a.test"


def test_a_file_for_the_gateway_alone_says_nothing_of_a_hub(tmp_path: Path) -> None:
    def has_hub(text: str) -> bool:
        path = tmp_path / "config.yaml"
        path.write_text(text)
        file = ConfigFile(path, {"gateway": gateway.Settings, "ws_service": service.Settings})
        return Target(gateway.Settings(), service.Settings(), tmp_path, file).has_hub

    assert has_hub("gateway: {}\nws_service: {}\n")
    assert not has_hub("gateway: {}\n")
    assert target_of(tmp_path).has_hub


def test_a_finding_has_the_line_of_the_setting_or_of_what_is_around_it(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("gateway:\n  listen: 127.0.0.1:8000\n  upstreams:\n    dash: http://127.0.0.1:9\n")
    file = ConfigFile(path, {"gateway": gateway.Settings})
    target = Target(gateway.Settings(), service.Settings(), tmp_path, file)
    finding = target.found("DW021", "seen", "fix", ("gateway", "upstreams", "dash"))
    assert str(finding.place) == f"{path}:4:5: gateway.upstreams.dash"
    finding = target.found("DW021", "seen", "fix", ("gateway", "upstreams", "ws"))
    assert str(finding.place) == f"{path}:3:3: gateway.upstreams.ws"
    assert target.found("DW021", "seen").place is None
    finding = target_of(tmp_path).found("DW021", "seen", key=("gateway", "listen"))
    assert str(finding.place) == "the defaults: gateway.listen"


def test_an_upstream_with_tls_is_checked_as_the_gateway_does_it(tmp_path: Path) -> None:
    """It gets the fields of a client that is logged in, and the key of the service."""
    target = target_of(tmp_path, upstreams={"dash": "https://dash.test", "ws": "http://127.0.0.1:8765"})
    assert target.upstream_tls is not None
    assert (target.upstream_tls.verify_mode, target.upstream_tls.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert target_of(tmp_path).upstream_tls is None
