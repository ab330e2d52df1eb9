"""The files of TLS are read once in one reading of the configuration, and what was renewed meanwhile is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.x509 import load_pem_x509_certificate

from proxy.config import Settings, Tls
from proxy.errors import TlsError
from proxy.net.tls_files import CertificateFile, TlsFiles, renewals
from tests.certificates import Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_a_file_that_is_not_there_is_named(authority: Authority, tmp_path: Path) -> None:
    files = authority.issue()
    for key in ("certificate", "key"):
        with pytest.raises(TlsError, match=r"gone\.pem cannot be read: no such file") as caught:
            TlsFiles().server(Tls(**{**files, key: str(tmp_path / "gone.pem")}))
        assert caught.value.key == f"gateway.tls.{key}"


def test_a_file_that_is_something_else_is_named(authority: Authority, tmp_path: Path) -> None:
    files = authority.issue()
    (tmp_path / "notes.txt").write_text("not PEM")
    for key, noun in (("certificate", "certificate"), ("key", "private key")):
        with pytest.raises(TlsError, match=rf"notes\.txt holds no {noun} in PEM form") as caught:
            TlsFiles().server(Tls(**{**files, key: str(tmp_path / "notes.txt")}))
        assert caught.value.key == f"gateway.tls.{key}"


def test_both_files_are_judged_and_each_is_read_once(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    files = authority.issue()
    together = Path(files["certificate"]).with_name("both.pem")
    together.write_bytes(Path(files["certificate"]).read_bytes() + Path(files["key"]).read_bytes())
    read: list[Path] = []
    real = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read.append(path) or real(path))
    tls_files, both = TlsFiles(), Tls(certificate=str(together), key=str(together))
    settings = Settings(tls=both)
    assert not tls_files.problems(both)
    tls_files.server(both)
    assert list(tls_files.certificates(settings)) == ["tls.certificate"]
    assert read == [together]
    swapped = Tls(certificate=files["key"], key=files["certificate"])
    assert [problem.key for problem in tls_files.problems(swapped)] == ["gateway.tls.certificate", "gateway.tls.key"]


def test_authorities_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(TlsError, match=r"gone\.pem cannot be read: no such file") as caught:
        TlsFiles().upstream(str(tmp_path / "gone.pem"))
    assert caught.value.key == "gateway.upstream_ca"
    (tmp_path / "notes.txt").write_text("not PEM")
    with pytest.raises(TlsError, match=r"notes\.txt holds no certificate in PEM form"):
        TlsFiles().upstream(str(tmp_path / "notes.txt"))


def test_files_are_read_once_for_one_reading_of_the_configuration(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever is in them by then: what was checked is what is used, and what there is to warn of is said once."""
    now, day = datetime.now(UTC), timedelta(days=1)
    files = Tls(**authority.issue(not_before=now - 9 * day, not_after=now - day))
    tls_files = TlsFiles()
    checked, trusted = tls_files.server(files), tls_files.upstream(str(authority.file))
    for path in (files.certificate, files.key, authority.file):
        Path(path).unlink()
    assert tls_files.server(files) is checked
    assert tls_files.upstream(str(authority.file)) is trusted
    assert len(caplog.records) == 1
    with pytest.raises(TlsError):
        TlsFiles().server(files)


def test_a_new_certificate_that_is_wrong_changes_nothing(authority: Authority) -> None:
    files = authority.issue()
    in_use = TlsFiles()
    before = in_use.server(Tls(**files))
    Path(files["key"]).write_bytes(Path(authority.issue(file="other")["key"]).read_bytes())
    with pytest.raises(TlsError, match="does not belong"):
        TlsFiles().server(Tls(**files))
    assert in_use.server(Tls(**files)) is before


# -- what was renewed


def in_use(authority: Authority, files: dict[str, str]) -> dict[str, CertificateFile]:
    upstreams = {"dash": "https://localhost:1", "ws": "http://127.0.0.1:2"}
    settings = {"tls": files, "upstreams": upstreams, "upstream_ca": str(authority.file)}
    return TlsFiles().certificates(Settings.model_validate(settings))


def test_a_renewed_certificate_is_told_by_its_serial_and_its_last_day(authority: Authority) -> None:
    until = datetime(2031, 2, 3, 4, 5, 6, tzinfo=UTC)
    files = authority.issue(not_after=until)
    before = in_use(authority, files)
    assert renewals(before, in_use(authority, files)) == []
    old = load_pem_x509_certificate(Path(files["certificate"]).read_bytes())
    authority.issue(not_after=datetime(2051, 1, 1, tzinfo=UTC))  # which is no UTCTime any more
    new = load_pem_x509_certificate(Path(files["certificate"]).read_bytes())
    assert renewals(before, in_use(authority, files)) == [
        f"tls.certificate: the file {files['certificate']} was renewed: "
        f"serial {old.serial_number:X}, valid until 2031-02-03 04:05:06 UTC -> "
        f"serial {new.serial_number:X}, valid until 2051-01-01 00:00:00 UTC"
    ]


def test_other_certificates_after_the_same_first_one_are_told_too(authority: Authority) -> None:
    files = authority.issue()
    before = in_use(authority, files)
    with Path(files["certificate"]).open("ab") as chain:
        chain.write(authority.file.read_bytes())
    (told,) = renewals(before, in_use(authority, files))
    assert told.endswith(", and 1 more")
    before = in_use(authority, files)
    with Path(files["certificate"]).open("ab") as chain:
        chain.write(b"# a comment\n")
    (told,) = renewals(before, in_use(authority, files))
    assert "another content; its first certificate is the same, serial " in told


def test_other_authorities_of_upstreams_are_told_where_an_upstream_speaks_tls(
    authority: Authority, tmp_path: Path
) -> None:
    files = authority.issue()
    before = in_use(authority, files)
    (tmp_path / "other").mkdir()
    authority.file.write_bytes(Authority(tmp_path / "other").file.read_bytes())
    (told,) = renewals(before, in_use(authority, files))
    assert told.startswith(f"upstream_ca: the file {authority.file} was renewed: serial ")
    assert TlsFiles().certificates(Settings.model_validate({"upstream_ca": str(authority.file)})) == {}


@pytest.mark.parametrize("content", [b"", b"no PEM", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"])
def test_what_is_no_certificate_that_can_be_read_here_is_unknown(authority: Authority, content: bytes) -> None:
    """Whether it can be used is found when it is loaded."""
    files = authority.issue()
    Path(files["certificate"]).write_bytes(content)
    assert in_use(authority, files)["tls.certificate"].description == "an unknown certificate"
    Path(files["certificate"]).unlink()
    assert "tls.certificate" not in in_use(authority, files)
