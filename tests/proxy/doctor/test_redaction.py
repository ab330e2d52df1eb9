"""What does not go into a report."""

from __future__ import annotations

import pytest

from proxy.doctor.redaction import Redaction, hosts_in

HOMES, ROOTS = (f"/{name}" for name in ("home", "root"))


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("redis://ada:hunter2@cache.corp:6379/0", "redis://***@host-1:6379/0"),
        ("https://app.corp/a?token=abc&b=1 answers 502", "https://host-1/a?*** answers 502"),
        ("http://127.0.0.1:8050/ and http://localhost:1", "http://127.0.0.1:8050/ and http://localhost:1"),
        ("10.1.2.3 and 10.1.2.4 and 10.1.2.3", "address-1 and address-2 and address-1"),
        ("[2001:db8::7]:80, [::1]:80", "[address-1]:80, [::1]:80"),
        ("password: hunter2, api_key=abcdef", "password: ***, api_key=***"),
        ("Cookie: session=abc", "Cookie: ***"),
        ("Cookie: session=abc; theme=dark", "Cookie: ***"),
        ("Authorization: Bearer abc.def\nanswers 401", "Authorization: ***\nanswers 401"),
        ("redis://:p@ss'w\"rd@cache.corp:6379/0", "redis://***@host-1:6379/0"),
        (r"regex:https://.*\.corp\.example", "regex:***"),
        ("::ffff:10.1.2.3 and [::ffff:10.1.2.4]:80", "address-1 and [address-2]:80"),
        (f"in {HOMES}/ada/app/config.yaml:3:5", "in ~/app/config.yaml:3:5"),
        (f"{ROOTS}/app and {ROOTS}ed", f"~/app and {ROOTS}ed"),
        ("Dash 4.4.1 at 12:30:05; did you mean app?", "Dash 4.4.1 at 12:30:05; did you mean app?"),
        ("no.1 is https://no.1", "host-1 is https://host-1"),
    ],
)
def test_secrets_go_and_hosts_become_pseudonyms(text: str, redacted: str) -> None:
    assert Redaction().text(text) == redacted


def test_known_hosts_are_replaced_wherever_they_stand() -> None:
    redaction = Redaction(["app.corp", "corp"])
    assert redaction.text("certificate is not valid for 'App.Corp'") == "certificate is not valid for 'host-1'"
    assert redaction.text("corporate corp") == "corporate host-2"
    assert redaction.values({"a": ["app.corp", 1, None, True]}) == {"a": ["host-1", 1, None, True]}


def test_hosts_of_settings_are_those_of_urls_and_of_keys_for_hosts() -> None:
    settings = {
        "upstreams": {"dash": "http://dash.corp:80", "ws": "unix:run/a.sock"},
        "routes": [{"host": "a.corp", "path": "/x"}, {"host": None}],
        "admin_hosts": ["gateway"],
        "origins": ["same", "https://b.corp"],
    }
    assert list(hosts_in(settings)) == ["dash.corp", "a.corp", "gateway", "b.corp"]


def test_addresses_to_listen_on_and_the_folder_of_a_certificate_have_hosts_too() -> None:
    settings = {
        "listen": "gateway.corp:8000",
        "admin": "127.0.0.1:8001",
        "tls": {"certificate": "/etc/letsencrypt/live/app.corp/fullchain.pem", "key": "keys/b.corp.pem"},
        "trusted_proxies": ["10.0.0.0/8"],
        "handoff": "/opt/python3.11/run.d/1.2/ws.sock",
    }
    assert [host for host in hosts_in(settings) if host.endswith("corp")] == ["gateway.corp", "app.corp", "b.corp"]
    redaction = Redaction(hosts_in(settings))
    assert (
        redaction.text("/etc/letsencrypt/live/app.corp/fullchain.pem") == "/etc/letsencrypt/live/host-2/fullchain.pem"
    )
    assert redaction.text("aiohttp 1.2, python 3.11, 10.0.0.0/8") == "aiohttp 1.2, python 3.11, address-1/8"
