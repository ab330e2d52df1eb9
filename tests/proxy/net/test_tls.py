"""TLS contexts: what is shown, spoken and trusted; and what is wrong with files has its own sentence."""

from __future__ import annotations

import logging
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from proxy.config import Tls
from proxy.errors import TlsError
from proxy.net.tls import server_context, upstream_context, why
from tests.certificates import Authority, encrypt


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


class Met(NamedTuple):
    """What a client has seen."""

    version: str | None
    alpn: str | None
    serial: str


def meet(server: ssl.SSLContext, client: ssl.SSLContext, name: str = "localhost") -> Met:
    """Shake hands in memory."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(to_server, to_client, server_side=True)
    theirs = client.wrap_bio(to_client, to_server, server_hostname=name)
    for end in (theirs, ours) * 3:
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue
    certificate = theirs.getpeercert()
    assert certificate is not None
    return Met(theirs.version(), theirs.selected_alpn_protocol(), str(certificate["serialNumber"]))


def test_a_client_that_knows_the_authority_is_met_with_the_newest_version_and_http11(authority: Authority) -> None:
    client = authority.client()
    client.set_alpn_protocols(["h2", "http/1.1"])
    assert meet(server_context(Tls(**authority.issue())), client)[:2] == ("TLSv1.3", "http/1.1")


def test_12_is_the_oldest_version(authority: Authority) -> None:
    server = server_context(Tls(**authority.issue()))
    assert server.minimum_version == upstream_context(None).minimum_version == ssl.TLSVersion.TLSv1_2
    client = authority.client()
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    assert meet(server, client).version == "TLSv1.2"


def test_a_second_handshake_is_refused(authority: Authority) -> None:
    assert server_context(Tls(**authority.issue())).options & ssl.OP_NO_RENEGOTIATION


def test_a_file_that_only_looks_like_pem_is_named(authority: Authority, tmp_path: Path) -> None:
    files = authority.issue()
    Path(files["certificate"]).write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    with pytest.raises(TlsError, match=r"server\.pem and .*server\.key cannot be used: ") as caught:
        server_context(Tls(**files))
    assert "_ssl.c" not in str(caught.value)


def test_a_key_of_another_certificate_is_said_to_be_one(authority: Authority) -> None:
    files = {**authority.issue(), "key": authority.issue(file="other")["key"]}
    with pytest.raises(TlsError, match=r"other\.key does not belong to the certificate in .*server\.pem"):
        server_context(Tls(**files))


def test_there_is_no_prompt_for_a_passphrase(authority: Authority) -> None:
    files = authority.issue()
    encrypt(Path(files["key"]))
    with pytest.raises(TlsError, match=r"server\.key is encrypted") as caught:
        server_context(Tls(**files))
    assert caught.value.key == "gateway.tls.key"


def test_a_good_certificate_is_no_news(authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    server_context(Tls(**authority.issue()))
    assert not caplog.records


@pytest.mark.parametrize(("begins", "ends", "words"), [(-9, -1, "has expired"), (1, 9, "is not valid yet")])
def test_a_certificate_of_another_time_is_used_with_a_warning(
    authority: Authority, caplog: pytest.LogCaptureFixture, begins: int, ends: int, words: str
) -> None:
    now, day = datetime.now(UTC), timedelta(days=1)
    files = authority.issue(not_before=now + begins * day, not_after=now + ends * day)
    with caplog.at_level(logging.WARNING, "proxy"):
        server_context(Tls(**files))
    assert [record.getMessage() for record in caplog.records] == [f"the certificate in {files['certificate']} {words}"]


def test_a_file_that_is_exchanged_while_it_is_read_is_named_or_used(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each step opens the files anew: they may be gone, half written or of another pair at any of them (issue 9)."""
    files, other = authority.issue(), authority.issue(file="other")
    good = {path: Path(path).read_bytes() for path in files.values()}
    contents = {"gone": None, "empty": b"", "another": Path(other["certificate"]).read_bytes()}
    steps = ("load_cert_chain", "load_verify_locations")
    for step in steps:
        for content in contents.values():
            for path in files.values():
                for name, data in good.items():
                    Path(name).write_bytes(data)
                real = getattr(ssl.SSLContext, step)

                def exchanged(
                    *args: object, real: Any = real, path: str = path, content: Any = content, **more: object
                ) -> object:
                    Path(path).unlink()
                    if content is not None:
                        Path(path).write_bytes(content)
                    return real(*args, **more)

                with monkeypatch.context() as patch:
                    patch.setattr(ssl.SSLContext, step, exchanged)
                    try:
                        server_context(Tls(**files))
                    except TlsError as error:
                        assert error.key.startswith("gateway.tls.")


def test_a_certificate_that_is_exchanged_after_it_was_loaded_is_not_warned_of(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    files = authority.issue()
    now, day = datetime.now(UTC), timedelta(days=1)
    old = authority.issue(file="old", not_before=now - 9 * day, not_after=now - day)
    load = ssl.SSLContext.load_cert_chain

    def exchange(self: ssl.SSLContext, *arguments: Any) -> None:
        load(self, *arguments)
        Path(old["certificate"]).replace(files["certificate"])

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", exchange)
    server_context(Tls(**files))
    assert not caplog.records


def test_an_upstream_is_trusted_by_name_and_by_authority(authority: Authority, tmp_path: Path) -> None:
    server = server_context(Tls(**authority.issue("localhost")))
    ours = upstream_context(str(authority.file))
    assert meet(server, ours).alpn == "http/1.1"
    with pytest.raises(ssl.SSLCertVerificationError) as wrong_name:
        meet(server, ours, name="dash.test")
    assert why(wrong_name.value) == (
        "certificate verify failed: Hostname mismatch, certificate is not valid for 'dash.test'"
    )
    with pytest.raises(ssl.SSLCertVerificationError) as unknown:
        meet(server, upstream_context(None))
    assert why(unknown.value).startswith("certificate verify failed: ")


def test_what_is_said_of_a_failed_handshake_names_no_line_of_c() -> None:
    error = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)")
    error.reason = "WRONG_VERSION_NUMBER"
    assert why(error) == "TLS failed: wrong version number"


def test_authorities_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    with pytest.raises(TlsError, match=r"gone\.pem cannot be read") as caught:
        upstream_context(str(tmp_path / "gone.pem"))
    assert caught.value.key == "gateway.upstream_ca"
    broken = tmp_path / "broken.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    with pytest.raises(TlsError, match=r"broken\.pem holds no certificate that can be used"):
        upstream_context(str(broken))
