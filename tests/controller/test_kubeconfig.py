"""The client of the operator and Kopf both use every field of the kubeconfig, and no other settings."""

import asyncio
import base64
import json
import os
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from qualtrics_exporter.controller.kube.auth import REFRESH, REFRESH_EXPIRED, connect, login
from qualtrics_exporter.controller.kube.errors import NotConfigured, Unreachable
from tests.controller.kubeconfig_file import write_kubeconfig
from tests.controller.patient_api import patient_api
from tests.remote.scripted_proxy import ScriptedProxy
from tests.remote.servers import ReceivedRequest, Server, answer
from tests.support.inspection import Inspection
from tests.support.loop_clock import LoopClock
from tests.support.waiting import HANG_SECONDS

SECRET = {"metadata": {"uid": "u", "resourceVersion": "1"}, "data": {}}

Fields = dict[str, Any]


class ApiServer:
    """An API server that answers every request with a Secret, and a kubeconfig for it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._patch = monkeypatch
        self.authority = trustme.CA()
        self.authority.cert_pem.write_to_path(str(folder / "ca.pem"))
        self.server = Server(answers=[answer(200, SECRET)])

    @property
    def port(self) -> int:
        """The port on the loopback interface."""
        return int(self.server.url.rpartition(":")[2])

    def tls_of(self, *names: str) -> ssl.SSLContext:
        """Return a context with a certificate for these names."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert(*names).configure_cert(context)
        return context

    def use(self, cluster: Fields, user: Fields | None = None) -> None:
        """Write a kubeconfig with these fields, and let the operator use it. A field with None is left out."""
        fields = {"server": f"https://localhost:{self.port}", "certificate-authority": "ca.pem", **cluster}
        path = self._folder / "kubeconfig"
        present = {name: value for name, value in fields.items() if value is not None}
        write_kubeconfig(path, present, user or {"token": "the-token"})
        self._patch.setenv("KUBECONFIG", str(path))

    async def requests_of_both_clients(self) -> list[ReceivedRequest]:
        """Let each client make a request, and return both requests as the server received them."""
        self.server.received_requests.clear()
        async with await connect() as connection:
            await patient_api(connection).get_secret("dex", "one")
        kopf = await login()
        async with kopf.session() as session, session.get(f"{kopf.server}/of-kopf") as response:
            assert response.status == 200
        assert [request.target for request in self.server.received_requests] == [
            "/api/v1/namespaces/dex/secrets/one",
            "/of-kopf",
        ]
        return list(self.server.received_requests)


@pytest.fixture
async def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ApiServer]:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    api = ApiServer(tmp_path, monkeypatch)
    api.server.tls = api.tls_of("localhost", "kubernetes.default.svc")
    async with api.server:
        yield api


@pytest.fixture
async def proxy(api: ApiServer) -> AsyncIterator[ScriptedProxy]:
    proxy = ScriptedProxy(api.port)
    yield proxy
    await proxy.stop()


async def test_clients_ignore_proxies_and_netrc_of_the_environment(
    api: ApiServer, proxy: ScriptedProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = await proxy.start()
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("no_proxy", "")
    (tmp_path / "netrc").write_text("machine localhost login somebody password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    api.use({}, {"token": "the-token"})
    for request in await api.requests_of_both_clients():
        assert request.headers["authorization"] == "Bearer the-token"
    assert proxy.heads == []


@pytest.mark.parametrize("user_info", ["", "u:p%40ss@"], ids=["without a user name", "with a user name"])
async def test_clients_connect_through_proxy_url(api: ApiServer, proxy: ScriptedProxy, user_info: str) -> None:
    port = await proxy.start()
    api.use({"proxy-url": f"http://{user_info}127.0.0.1:{port}"})
    await api.requests_of_both_clients()
    assert len(proxy.heads) == 2
    authorization = f"Proxy-Authorization: Basic {base64.b64encode(b'u:p@ss').decode()}"
    for head in proxy.heads:
        assert head.startswith(f"CONNECT localhost:{api.port} ")
        assert "the-token" not in head
        assert (authorization in head) is bool(user_info)


async def test_unsupported_proxy_url_is_rejected_at_start_without_its_password(api: ApiServer) -> None:
    api.use({"proxy-url": "socks5://u:s3cret@127.0.0.1:1080"})
    with pytest.raises(NotConfigured, match="proxy-url is not the URL of an http or https proxy") as error:
        await connect()
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize("proxied", [False, True], ids=["directly", "through a proxy"])
async def test_clients_verify_the_certificate_against_tls_server_name(
    api: ApiServer, proxy: ScriptedProxy, proxied: bool
) -> None:
    port = await proxy.start()
    proxy_fields = {"proxy-url": f"http://127.0.0.1:{port}"} if proxied else {}
    fields = {"server": f"https://127.0.0.1:{api.port}", **proxy_fields}
    api.use({**fields, "tls-server-name": "kubernetes.default.svc"})
    await api.requests_of_both_clients()
    api.use({**fields, "tls-server-name": "kubernetes.example.com"})
    with pytest.raises(Unreachable, match="is not trusted: it is for another host"):
        await api.requests_of_both_clients()
    api.use(fields)
    with pytest.raises(Unreachable, match="is not trusted: it is for another host"):
        await api.requests_of_both_clients()


async def test_clients_do_not_verify_the_certificate_with_insecure_skip_tls_verify(api: ApiServer) -> None:
    api.use(
        {"certificate-authority": None, "server": f"https://127.0.0.1:{api.port}", "insecure-skip-tls-verify": True}
    )
    await api.requests_of_both_clients()


async def test_clients_trust_authorities_of_the_machine_and_of_ssl_cert_file_by_default(
    api: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.use({"certificate-authority": None})
    with pytest.raises(Unreachable, match="is not trusted: unable to get local issuer certificate"):
        await api.requests_of_both_clients()
    machine_authorities = len((await login()).tls().get_ca_certs())
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    await api.requests_of_both_clients()
    assert len((await login()).tls().get_ca_certs()) == machine_authorities + 1


async def test_clients_trust_an_authority_without_key_identifiers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Older clusters have such authorities. By default, Python 3.13 and newer reject them."""
    monkeypatch.setattr(ssl.SSLContext, "__new__", _strict(ssl.SSLContext.__new__))
    inspection = Inspection(tmp_path, "localhost")
    api = ApiServer(tmp_path, monkeypatch)
    api.server.tls = inspection.context
    async with api.server:
        api.use({"certificate-authority": "inspection-ca.pem"})
        await api.requests_of_both_clients()


def _strict(new_context: Callable[..., ssl.SSLContext]) -> Callable[..., ssl.SSLContext]:
    """Make contexts of clients as strict as the default context of Python 3.13 is."""

    def new(cls: type[ssl.SSLContext], protocol: int, *args: object, **kwargs: object) -> ssl.SSLContext:
        context = new_context(cls, protocol, *args, **kwargs)
        if protocol == ssl.PROTOCOL_TLS_CLIENT:
            context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    return new


async def test_client_certificate_is_presented_without_a_token(api: ApiServer, tmp_path: Path) -> None:
    client_certificate(api, tmp_path, "operator")
    api.use({}, {"client-certificate": "client.pem", "client-key": "client.pem"})
    assert "authorization" not in (await api.requests_of_both_clients())[0].headers


async def test_username_and_password_become_basic_authentication(api: ApiServer) -> None:
    api.use({}, {"username": "u", "password": "p"})
    for request in await api.requests_of_both_clients():
        assert request.headers["authorization"] == f"Basic {base64.b64encode(b'u:p').decode()}"


async def test_token_file_takes_precedence_over_token(api: ApiServer, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("of-the-file\n")
    api.use({}, {"token": "of-the-field", "tokenFile": "token"})
    for request in await api.requests_of_both_clients():
        assert request.headers["authorization"] == "Bearer of-the-file"
    api.use({}, {"tokenFile": str(tmp_path / "token")})
    for request in await api.requests_of_both_clients():
        assert request.headers["authorization"] == "Bearer of-the-file"


async def test_kubeconfig_can_contain_certificates_and_keys(api: ApiServer, tmp_path: Path) -> None:
    """Kubeconfigs of cloud providers and of kind contain them."""
    certificate = client_certificate(api, tmp_path, "operator")
    api.use(
        {
            "certificate-authority": None,
            "certificate-authority-data": base64.b64encode(api.authority.cert_pem.bytes()).decode(),
        },
        {
            "client-certificate-data": base64.b64encode(certificate.encode()).decode(),
            "client-key-data": base64.b64encode(certificate.encode()).decode(),
        },
    )
    await api.requests_of_both_clients()


def client_certificate(api: ApiServer, folder: Path, name: str) -> str:
    """Let the API server require a client certificate, and return one that it accepts, with its key."""
    issued = api.authority.issue_cert(name)
    issued.private_key_and_cert_chain_pem.write_to_path(str(folder / "client.pem"))
    assert api.server.tls
    api.server.tls.verify_mode = ssl.CERT_REQUIRED
    api.authority.configure_trust(api.server.tls)
    return (folder / "client.pem").read_text()


EXEC_VERSION = "client.authentication.k8s.io/v1"


def exec_user(folder: Path, *, code: int = 0, **status: str) -> Fields:
    """Return a user whose credentials a command prints. `command_runs` returns how often the command ran."""
    credential = {"apiVersion": EXEC_VERSION, "kind": "ExecCredential", "status": status}
    (folder / "credential").write_text(json.dumps(credential))
    script = f"echo >> '{folder}/runs'; cat '{folder}/credential'; exit {code}"
    return {
        "exec": {
            "apiVersion": EXEC_VERSION,
            "command": "sh",
            "args": ["-c", script],
            "env": [{"name": "REGION", "value": "eu"}],
            "interactiveMode": "Never",
        }
    }


def command_runs(folder: Path) -> int:
    """Return how often the command ran."""
    return len((folder / "runs").read_text().splitlines())


async def test_exec_command_runs_again_after_its_token_has_expired(
    api: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commands aws and gke-gcloud-auth-plugin return such tokens. The sessions stay open."""
    api.use({}, exec_user(tmp_path, token="first", expirationTimestamp="2001-01-01T00:00:00Z"))
    loop_clock = LoopClock(monkeypatch)
    kopf = await login()
    async with await connect() as client, kopf.session() as session:
        assert command_runs(tmp_path) == 2

        async def authorizations() -> list[str]:
            await patient_api(client).get_secret("dex", "one")
            async with session.get(f"{kopf.server}/of-kopf") as response:
                assert response.status == 200
            return [request.headers["authorization"] for request in api.server.received_requests[-2:]]

        # The token is new, so the command does not run again at once: clocks may differ.
        assert await authorizations() == ["Bearer first"] * 2
        loop_clock.advance(REFRESH_EXPIRED)
        exec_user(tmp_path, token="second", expirationTimestamp="2199-01-01T00:00:00Z")
        assert await authorizations() == ["Bearer second"] * 2
        assert command_runs(tmp_path) == 4
        exec_user(tmp_path, token="third", expirationTimestamp="2199-01-01T00:00:00Z")
        loop_clock.advance(REFRESH_EXPIRED)
        assert await authorizations() == ["Bearer second"] * 2
        assert command_runs(tmp_path) == 4, "the second token has not expired"
        loop_clock.advance(REFRESH)
        assert await authorizations() == ["Bearer third"] * 2
        (tmp_path / "credential").write_text("something failed")
        loop_clock.advance(REFRESH)
        assert await authorizations() == ["Bearer third"] * 2


async def test_slow_exec_command_does_not_delay_requests_while_the_old_token_is_valid(
    api: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop_clock = LoopClock(monkeypatch)
    release = tmp_path / "release"
    os.mkfifo(release)
    user = exec_user(tmp_path, token="first")
    api.use({}, user)
    kopf = await login()
    user["exec"]["args"][1] = f"cat '{release}' && cat '{tmp_path}/credential'"
    api.use({}, user)
    exec_user(tmp_path, token="second")
    loop_clock.advance(REFRESH)
    cancelled = asyncio.create_task(kopf.token())
    await asyncio.sleep(0)
    assert await kopf.token() == "Bearer first", "the first token has not expired"
    cancelled.cancel()
    # Opening the pipe waits for the command, which waits for the pipe.
    await asyncio.to_thread(release.write_text, "")
    async with asyncio.timeout(HANG_SECONDS):
        while await kopf.token() == "Bearer first":  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert await kopf.token() == "Bearer second"


async def test_exec_command_can_return_a_client_certificate(api: ApiServer, tmp_path: Path) -> None:
    certificate = client_certificate(api, tmp_path, "operator")
    api.use({}, exec_user(tmp_path, clientCertificateData=certificate, clientKeyData=certificate))
    for request in await api.requests_of_both_clients():
        assert "authorization" not in request.headers
    assert command_runs(tmp_path) == 2


@pytest.mark.parametrize(
    "fault",
    [{"code": 1}, {"clientCertificateData": "a"}, {"apiVersion": "other"}],
    ids=["an exit code", "a certificate without a key", "neither token nor certificate"],
)
async def test_exec_command_without_credentials_is_reported_at_start(
    api: ApiServer, tmp_path: Path, fault: Fields
) -> None:
    user = exec_user(tmp_path, **fault)
    api.use({}, user)
    with pytest.raises(NotConfigured, match=r"the command sh of its user \(exec\) did not return credentials"):
        await connect()
    user["exec"]["command"] = "no-such-command"
    api.use({}, user)
    with pytest.raises(NotConfigured, match="the command no-such-command"):
        await connect()


async def test_unsupported_auth_provider_is_reported_at_start_without_its_token(api: ApiServer) -> None:
    api.use({}, {"auth-provider": {"name": "azure", "config": {"access-token": "s3cret"}}})
    with pytest.raises(NotConfigured, match=r"auth-provider azure of its user is not supported\. Use exec") as error:
        await connect()
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("gcp", {"access-token": "{token}", "expiry": "2199-01-01T00:00:00Z"}),
        ("oidc", {"id-token": "{token}", "idp-issuer-url": "https://idp.example.com"}),
    ],
)
async def test_supported_auth_provider_supplies_the_token(api: ApiServer, name: str, fields: Fields) -> None:
    payload = base64.b64encode(json.dumps({"exp": 7226582400}).encode()).decode().rstrip("=")
    token = f"e30.{payload}.c2ln"
    api.use({}, {"auth-provider": {"name": name, "config": {k: v.format(token=token) for k, v in fields.items()}}})
    for request in await api.requests_of_both_clients():
        assert request.headers["authorization"] == f"Bearer {token}"


async def test_impersonation_fields_become_headers_and_are_rejected_without_as(api: ApiServer) -> None:
    api.use(
        {},
        {
            "token": "the-token",
            "as": "system:serviceaccount:dex:surveys",
            "as-uid": "17",
            "as-groups": ["one"],
            "as-user-extra": {"example.com/team": ["dex"]},
        },
    )
    for request in await api.requests_of_both_clients():
        assert request.headers["impersonate-user"] == "system:serviceaccount:dex:surveys"
        assert request.headers["impersonate-uid"] == "17"
        assert request.headers["impersonate-group"] == "one"
        assert request.headers["impersonate-extra-example.com%2fteam"] == "dex"
        assert request.headers["authorization"] == "Bearer the-token"
    api.use({}, {"token": "the-token", "as-groups": ["system:masters"]})
    with pytest.raises(NotConfigured, match="without as"):
        await connect()


async def test_clients_request_uncompressed_responses_with_disable_compression(api: ApiServer) -> None:
    api.use({"disable-compression": True})
    assert {request.headers["accept-encoding"] for request in await api.requests_of_both_clients()} == {"identity"}


@pytest.mark.parametrize("field", ["certificate-authority", "client-certificate"])
async def test_unusable_certificate_file_is_reported_at_start(api: ApiServer, tmp_path: Path, field: str) -> None:
    (tmp_path / "bad.pem").write_text("no certificate")
    if field == "certificate-authority":
        api.use({field: "bad.pem"})
    else:
        api.use({}, {field: "bad.pem", "client-key": "bad.pem"})
    with pytest.raises(NotConfigured, match="cannot be used"):
        await connect()


async def test_redirect_to_another_server_does_not_carry_the_token(api: ApiServer) -> None:
    api.use({"insecure-skip-tls-verify": True, "certificate-authority": None})
    async with Server(tls=api.tls_of("localhost")) as other_server:
        api.server.script(answer(302, headers={"Location": f"{other_server.url}/stolen"}))
        kopf = await login()
        async with kopf.session() as session, session.get(f"{kopf.server}/api") as response:
            assert response.status == 200
        assert "authorization" in api.server.received_requests[0].headers
        assert "authorization" not in other_server.received_requests[0].headers


async def test_open_session_uses_a_rotated_token(
    api: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop_clock = LoopClock(monkeypatch)
    (tmp_path / "token").write_text("first")
    api.use({}, {"tokenFile": "token"})
    kopf = await login()
    async with kopf.session() as session:
        for token in ("first", "second"):
            (tmp_path / "token").write_text(token)
            loop_clock.advance(REFRESH)
            async with session.get(f"{kopf.server}/of-kopf"):
                assert api.server.received_requests[-1].headers["authorization"] == f"Bearer {token}"


async def test_both_clients_send_the_same_user_agent(api: ApiServer) -> None:
    api.use({})
    names = {request.headers["user-agent"] for request in await api.requests_of_both_clients()}
    assert len(names) == 1
    assert names.pop().startswith("qualtrics-exporter/")
