"""The certificates that are trusted, and the errors about others."""

import ssl
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import trustme

from qualtrics_exporter.qualtrics.operations import QUALTRICS
from qualtrics_exporter.remote import authorities
from qualtrics_exporter.remote.context import ApiContext
from qualtrics_exporter.remote.errors import Transient
from qualtrics_exporter.remote.session import Session
from qualtrics_exporter.remote.transport import Timeouts
from tests.remote.clock import RecordingClock
from tests.remote.servers import Server, credentials_for
from tests.support.inspection import Inspection
from tests.support.waiting import HANG_SECONDS

AUTHORITY_HASH = "71185a24"
"""The hash of the name of the authority. OpenSSL uses it as the file name in a directory: `openssl x509 -hash`."""


@pytest.fixture(autouse=True)
def strict_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the default context check strictly, as in Python 3.13 and newer."""
    create = ssl.create_default_context

    def strict(*args: object, **kwargs: object) -> ssl.SSLContext:
        context: ssl.SSLContext = create(*args, **kwargs)  # type: ignore[arg-type]
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", strict)
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


async def error_of_connection(tls: ssl.SSLContext, host: str = "localhost") -> str:
    """The error of a connection to a server with this certificate, empty if it is trusted."""
    timeouts = Timeouts(connect=HANG_SECONDS, silence=HANG_SECONDS, total=HANG_SECONDS)
    async with (
        Server(tls=tls) as server,
        ApiContext(clock=RecordingClock(), allowed_hosts=["localhost", "127.0.0.1"], timeouts=timeouts) as api_context,
    ):
        origin = server.url.replace("localhost", host)
        try:
            await Session(api_context, credentials_for(origin), QUALTRICS).token()
        except Transient as error:
            return error.message
        return ""


def server_context(folder: Path, issuer: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issuer.issue_cert("localhost").configure_cert(context)
    issuer.cert_pem.write_to_path(str(folder / "ca.pem"))
    return context


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
async def test_a_configured_authority_without_key_identifiers_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    inspection = Inspection(tmp_path, "localhost")
    if variable == "SSL_CERT_FILE":
        monkeypatch.setenv(variable, str(inspection.authority))
    else:
        folder = tmp_path / "authorities"
        folder.mkdir()
        (folder / f"{AUTHORITY_HASH}.0").write_bytes(inspection.authority.read_bytes())
        monkeypatch.setenv(variable, str(folder))
    assert await error_of_connection(inspection.context) == ""


async def test_a_configured_intermediate_authority_is_trusted_without_its_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = server_context(tmp_path, trustme.CA().create_child_ca())
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    assert await error_of_connection(context) == ""


def test_configured_authorities_are_trusted_in_addition_to_the_public_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    public = authorities.create_context()
    monkeypatch.setenv("SSL_CERT_FILE", str(Inspection(tmp_path, "localhost").authority))
    with_own = authorities.create_context()
    assert len(public.get_ca_certs()) > 100
    assert len(with_own.get_ca_certs()) == len(public.get_ca_certs()) + 1
    assert public.verify_flags & ssl.VERIFY_X509_STRICT  # without own authorities, checks stay strict
    assert not with_own.verify_flags & ssl.VERIFY_X509_STRICT


UNTRUSTED: dict[str, tuple[Callable[[Path], tuple[ssl.SSLContext, Path | None]], str, str, str]] = {
    "from an unknown authority": (
        lambda folder: (server_context(folder, trustme.CA()), None),
        "localhost",
        "unable to get local issuer certificate",
        "SSL_CERT_FILE",
    ),
    "from an unknown TLS inspection": (
        lambda folder: (Inspection(folder, "localhost").context, None),
        "localhost",
        "unable to get local issuer certificate",
        "privateCA",
    ),
    "expired": (
        lambda folder: _context_and_authority(Inspection(folder, "localhost", valid=timedelta(days=-1))),
        "localhost",
        "certificate has expired",
        "Check the clock of the operator",
    ),
    "not yet valid": (
        lambda folder: _context_and_authority(Inspection(folder, "localhost", valid=timedelta(days=90))),
        "localhost",
        "certificate is not yet valid",
        "Check the clock of the operator",
    ),
    "for another host": (
        lambda folder: _context_and_authority(Inspection(folder, "proxy.example.com")),
        "localhost",
        "it is for another host",
        "Check the url in the Secret",
    ),
    "for a name instead of an address": (
        lambda folder: _context_and_authority(Inspection(folder, "localhost")),
        "127.0.0.1",
        "it is for another host",
        "Check the url in the Secret",
    ),
}


def _context_and_authority(inspection: Inspection) -> tuple[ssl.SSLContext, Path | None]:
    return inspection.context, inspection.authority


@pytest.mark.parametrize("case", UNTRUSTED)
async def test_an_untrusted_certificate_is_reported_with_the_reason_of_openssl_and_a_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    create, host, message, next_step = UNTRUSTED[case]
    context, authority = create(tmp_path)
    if authority:
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    error = await error_of_connection(context, host)
    assert f"its certificate is not trusted: {message}" in error
    assert next_step in error
    assert host not in error
    assert "status page" not in error


async def test_a_failed_tls_handshake_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inspection = Inspection(tmp_path, "localhost")
    monkeypatch.setenv("SSL_CERT_FILE", str(inspection.authority))
    context = inspection.context
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")  # the key of the server is not an RSA key
    assert "TLS failed: " in await error_of_connection(context)


@pytest.mark.parametrize("content", [None, "", "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"])
async def test_an_unreadable_authority_file_is_reported_as_the_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    error = await error_of_connection(Inspection(tmp_path / "other", "localhost").context)
    assert "the certificate authorities of SSL_CERT_FILE cannot be read" in error
    assert "status page" not in error
