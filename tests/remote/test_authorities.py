"""Whose certificates are trusted, and what is said of the others."""

import ssl
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import trustme

from qualtrics_exporter.qualtrics.operations import QUALTRICS
from qualtrics_exporter.remote import authorities
from qualtrics_exporter.remote.context import ApiContext
from qualtrics_exporter.remote.credentials import ServiceCredentials
from qualtrics_exporter.remote.errors import Transient
from qualtrics_exporter.remote.session import Session
from qualtrics_exporter.remote.transport import Timeouts
from tests.environment.inspection import Inspection
from tests.environment.waiting import HANG_SECONDS
from tests.remote.clock import HastyClock
from tests.remote.servers import Server

HASH = "71185a24"
"""Of the authority's name, by which OpenSSL finds it in a folder: `openssl x509 -hash`."""


@pytest.fixture(autouse=True)
def as_newer_pythons_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.13 and newer ask OpenSSL for strict checks in its default context."""
    plain = ssl.create_default_context

    def strict(*args: object, **kwargs: object) -> ssl.SSLContext:
        made: ssl.SSLContext = plain(*args, **kwargs)  # type: ignore[arg-type]
        made.verify_flags |= ssl.VERIFY_X509_STRICT
        return made

    monkeypatch.setattr(ssl, "create_default_context", strict)
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


async def ask(tls: ssl.SSLContext, host: str = "localhost") -> str:
    """What is said when a server shows that certificate; empty when it is trusted."""
    timeouts = Timeouts(connect=HANG_SECONDS, silence=HANG_SECONDS, total=HANG_SECONDS)
    async with (
        Server(tls=tls) as server,
        ApiContext(clock=HastyClock(), allowed_hosts=["localhost", "127.0.0.1"], timeouts=timeouts) as remotes,
    ):
        origin = server.url.replace("localhost", host)
        credentials = ServiceCredentials(
            source="Secret dex/remote",
            url=origin,
            token_url=f"{origin}/oauth2/token",
            client_id="the-client",
            client_secret="the-secret",
            scope="a",
        )
        try:
            await Session(remotes, credentials, QUALTRICS).token()
        except Transient as error:
            return error.message
        return ""


def of_trustme(folder: Path, issuer: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issuer.issue_cert("localhost").configure_cert(context)
    issuer.cert_pem.write_to_path(str(folder / "ca.pem"))
    return context


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
async def test_an_authority_without_key_identifiers_is_trusted_when_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    inspection = Inspection(tmp_path, "localhost")
    if variable == "SSL_CERT_FILE":
        monkeypatch.setenv(variable, str(inspection.authority))
    else:
        folder = tmp_path / "authorities"
        folder.mkdir()
        (folder / f"{HASH}.0").write_bytes(inspection.authority.read_bytes())
        monkeypatch.setenv(variable, str(folder))
    assert await ask(inspection.context) == ""


async def test_an_intermediate_authority_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = of_trustme(tmp_path, trustme.CA().create_child_ca())
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    assert await ask(context) == ""


def test_authorities_of_ones_own_are_added_to_the_public_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    public = authorities.create_context()
    monkeypatch.setenv("SSL_CERT_FILE", str(Inspection(tmp_path, "localhost").authority))
    ours = authorities.create_context()
    assert len(public.get_ca_certs()) > 100
    assert len(ours.get_ca_certs()) == len(public.get_ca_certs()) + 1
    assert public.verify_flags & ssl.VERIFY_X509_STRICT  # nobody asked for less
    assert not ours.verify_flags & ssl.VERIFY_X509_STRICT


UNTRUSTED: dict[str, tuple[Callable[[Path], tuple[ssl.SSLContext, Path | None]], str, str, str]] = {
    "of an unknown authority": (
        lambda folder: (of_trustme(folder, trustme.CA()), None),
        "localhost",
        "unable to get local issuer certificate",
        "SSL_CERT_FILE",
    ),
    "of an inspection that is not known": (
        lambda folder: (Inspection(folder, "localhost").context, None),
        "localhost",
        "unable to get local issuer certificate",
        "privateCA",
    ),
    "expired": (
        lambda folder: _with(Inspection(folder, "localhost", valid=timedelta(days=-1))),
        "localhost",
        "certificate has expired",
        "Check the clock of the operator",
    ),
    "not yet valid": (
        lambda folder: _with(Inspection(folder, "localhost", valid=timedelta(days=90))),
        "localhost",
        "certificate is not yet valid",
        "Check the clock of the operator",
    ),
    "of another host": (
        lambda folder: _with(Inspection(folder, "proxy.example.com")),
        "localhost",
        "it is for another host",
        "Check the url in the Secret",
    ),
    "of a name instead of an address": (
        lambda folder: _with(Inspection(folder, "localhost")),
        "127.0.0.1",
        "it is for another host",
        "Check the url in the Secret",
    ),
}


def _with(inspection: Inspection) -> tuple[ssl.SSLContext, Path | None]:
    return inspection.context, inspection.authority


@pytest.mark.parametrize("case", UNTRUSTED)
async def test_a_certificate_that_is_not_trusted_is_told_with_openssls_own_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    make, host, said, step = UNTRUSTED[case]
    context, authority = make(tmp_path)
    if authority:
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    told = await ask(context, host)
    assert f"its certificate is not trusted: {said}" in told
    assert step in told
    assert host not in told
    assert "status page" not in told


async def test_a_handshake_that_fails_is_told_with_openssls_own_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inspection = Inspection(tmp_path, "localhost")
    monkeypatch.setenv("SSL_CERT_FILE", str(inspection.authority))
    context = inspection.context
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")  # its key is none for RSA
    assert "TLS failed: " in await ask(context)


@pytest.mark.parametrize("content", [None, "", "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"])
async def test_authorities_that_cannot_be_read_are_not_the_remote_sides_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    told = await ask(Inspection(tmp_path / "other", "localhost").context)
    assert "the certificate authorities of SSL_CERT_FILE cannot be read" in told
    assert "status page" not in told
