"""Every field of a kubeconfig holds for the calls of the operator and for Kopf's watches, and nothing else does."""

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

from qualtrics_exporter.controller.kube.api import ClusterApi
from qualtrics_exporter.controller.kube.auth import connect, login
from qualtrics_exporter.controller.kube.errors import NotConfigured, Unreachable
from tests.environment.inspection import Inspection
from tests.environment.waiting import HANG_SECONDS
from tests.remote.scripted_proxy import ScriptedProxy
from tests.remote.servers import Heard, Server, answer

SECRET = {"metadata": {"uid": "u", "resourceVersion": "1"}, "data": {}}

Fields = dict[str, Any]


class Api:
    """An API server that answers everything with a Secret, and a kubeconfig for it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._patch = monkeypatch
        self.authority = trustme.CA()
        self.authority.cert_pem.write_to_path(str(folder / "ca.pem"))
        self.server = Server(answers=[answer(200, SECRET)])

    @property
    def port(self) -> int:
        """Where it is, on the loopback."""
        return int(self.server.url.rpartition(":")[2])

    def tls_of(self, *names: str) -> ssl.SSLContext:
        """A certificate of these names."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert(*names).configure_cert(context)
        return context

    def use(self, cluster: Fields, user: Fields | None = None) -> None:
        """Have the operator use a kubeconfig with these fields."""
        fields = {"server": f"https://localhost:{self.port}", "certificate-authority": "ca.pem", **cluster}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "a", "cluster": {k: v for k, v in fields.items() if v is not None}}],
            "users": [{"name": "a", "user": user or {"token": "the-token"}}],
            "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
            "current-context": "a",
        }
        path = self._folder / "kubeconfig"
        path.write_text(json.dumps(content))
        self._patch.setenv("KUBECONFIG", str(path))

    async def asked_by_both(self) -> list[Heard]:
        """A request of each client, as it came in."""
        self.server.heard.clear()
        async with await connect() as api:
            await ClusterApi(api).get_secret("dex", "one")
        made = await login()
        async with made.session() as session, session.get(f"{made.server}/of-kopf") as reply:
            assert reply.status == 200
        assert [heard.target for heard in self.server.heard] == ["/api/v1/namespaces/dex/secrets/one", "/of-kopf"]
        return list(self.server.heard)


@pytest.fixture
async def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    made = Api(tmp_path, monkeypatch)
    made.server.tls = made.tls_of("localhost", "kubernetes.default.svc")
    async with made.server:
        yield made


@pytest.fixture
async def proxy(api: Api) -> AsyncIterator[ScriptedProxy]:
    running = ScriptedProxy(api.port)
    yield running
    await running.stop()


async def test_proxies_and_netrc_of_the_environment_are_not_for_the_api_server(
    api: Api, proxy: ScriptedProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = await proxy.start()
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("no_proxy", "")
    (tmp_path / "netrc").write_text("machine localhost login somebody password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    api.use({}, {"token": "the-token"})
    for heard in await api.asked_by_both():
        assert heard.headers["authorization"] == "Bearer the-token"
    assert proxy.heads == []


@pytest.mark.parametrize("user_info", ["", "u:p%40ss@"])
async def test_proxy_url(api: Api, proxy: ScriptedProxy, user_info: str) -> None:
    port = await proxy.start()
    api.use({"proxy-url": f"http://{user_info}127.0.0.1:{port}"})
    await api.asked_by_both()
    assert len(proxy.heads) == 2
    wanted = f"Proxy-Authorization: Basic {base64.b64encode(b'u:p@ss').decode()}"
    for head in proxy.heads:
        assert head.startswith(f"CONNECT localhost:{api.port} ")
        assert "the-token" not in head
        assert (wanted in head) is bool(user_info)


async def test_a_proxy_url_that_is_not_supported_is_told_at_the_start(api: Api) -> None:
    api.use({"proxy-url": "socks5://u:s3cret@127.0.0.1:1080"})
    with pytest.raises(NotConfigured, match="proxy-url is not the URL of an http or https proxy") as told:
        await connect()
    assert "s3cret" not in str(told.value)


@pytest.mark.parametrize("proxied", [False, True])
async def test_tls_server_name(api: Api, proxy: ScriptedProxy, proxied: bool) -> None:
    port = await proxy.start()
    more = {"proxy-url": f"http://127.0.0.1:{port}"} if proxied else {}
    where = {"server": f"https://127.0.0.1:{api.port}", **more}
    api.use({**where, "tls-server-name": "kubernetes.default.svc"})
    await api.asked_by_both()
    api.use({**where, "tls-server-name": "kubernetes.example.com"})
    with pytest.raises(Unreachable, match="is not trusted: it is for another host"):
        await api.asked_by_both()
    api.use(where)
    with pytest.raises(Unreachable, match="is not trusted: it is for another host"):
        await api.asked_by_both()


async def test_insecure_skip_tls_verify(api: Api) -> None:
    api.use(
        {"certificate-authority": None, "server": f"https://127.0.0.1:{api.port}", "insecure-skip-tls-verify": True}
    )
    await api.asked_by_both()


async def test_without_an_authority_those_of_the_machine_and_of_ssl_cert_file_are_trusted(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.use({"certificate-authority": None})
    with pytest.raises(Unreachable, match="is not trusted: unable to get local issuer certificate"):
        await api.asked_by_both()
    public = len((await login()).tls().get_ca_certs())
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    await api.asked_by_both()
    assert len((await login()).tls().get_ca_certs()) == public + 1


async def test_an_authority_without_key_identifiers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Older clusters have them. Python 3.13 and newer reject them unless they are told not to."""
    monkeypatch.setattr(
        ssl.SSLContext, "__new__", _strict(ssl.SSLContext.__new__)
    )  # as the default context of Python 3.13 is
    inspection = Inspection(tmp_path, "localhost")
    api = Api(tmp_path, monkeypatch)
    api.server.tls = inspection.context
    async with api.server:
        api.use({"certificate-authority": "inspection-ca.pem"})
        await api.asked_by_both()


def _strict(plain: Callable[..., ssl.SSLContext]) -> Callable[..., ssl.SSLContext]:
    def new(cls: type[ssl.SSLContext], protocol: int, *args: object, **kwargs: object) -> ssl.SSLContext:
        made = plain(cls, protocol, *args, **kwargs)
        if protocol == ssl.PROTOCOL_TLS_CLIENT:
            made.verify_flags |= ssl.VERIFY_X509_STRICT
        return made

    return new


async def test_a_client_certificate(api: Api, tmp_path: Path) -> None:
    client_certificate(api, tmp_path, "operator")
    api.use({}, {"client-certificate": "client.pem", "client-key": "client.pem"})
    assert "authorization" not in (await api.asked_by_both())[0].headers


async def test_basic_authentication(api: Api) -> None:
    api.use({}, {"username": "u", "password": "p"})
    for heard in await api.asked_by_both():
        assert heard.headers["authorization"] == f"Basic {base64.b64encode(b'u:p').decode()}"


async def test_a_token_file_comes_before_a_token(api: Api, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("of-the-file\n")
    api.use({}, {"token": "of-the-field", "tokenFile": "token"})
    for heard in await api.asked_by_both():
        assert heard.headers["authorization"] == "Bearer of-the-file"
    api.use({}, {"tokenFile": str(tmp_path / "token")})
    for heard in await api.asked_by_both():
        assert heard.headers["authorization"] == "Bearer of-the-file"


async def test_certificates_and_keys_in_the_kubeconfig(api: Api, tmp_path: Path) -> None:
    """As the clouds and kind write it."""
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
    await api.asked_by_both()


def client_certificate(api: Api, folder: Path, name: str) -> str:
    """Have the API server ask for a certificate; one that it accepts, with its key."""
    issued = api.authority.issue_cert(name)
    issued.private_key_and_cert_chain_pem.write_to_path(str(folder / "client.pem"))
    assert api.server.tls
    api.server.tls.verify_mode = ssl.CERT_REQUIRED
    api.authority.configure_trust(api.server.tls)
    return (folder / "client.pem").read_text()


EXEC_VERSION = "client.authentication.k8s.io/v1"


def command(folder: Path, *, code: int = 0, **status: str) -> Fields:
    """A user whose credentials a command returns, which counts how often it ran."""
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


def runs(folder: Path) -> int:
    """How often the command ran."""
    return len((folder / "runs").read_text().splitlines())


async def test_a_token_of_a_command_is_renewed_when_it_has_expired(api: Api, tmp_path: Path) -> None:
    """As of aws and gke-gcloud-auth-plugin. The sessions stay open; each knows that the time of its token has come."""
    api.use({}, command(tmp_path, token="first", expirationTimestamp="2001-01-01T00:00:00Z"))
    made = await login()
    async with await connect() as client, made.session() as session:
        assert runs(tmp_path) == 2

        async def asked() -> list[str]:
            await ClusterApi(client).get_secret("dex", "one")
            async with session.get(f"{made.server}/of-kopf") as reply:
                assert reply.status == 200
            return [heard.headers["authorization"] for heard in api.server.heard[-2:]]

        # It has just been made, so the command is not asked at once, in case clocks differ.
        assert await asked() == ["Bearer first"] * 2
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("qualtrics_exporter.controller.kube.auth.REFRESH_EXPIRED", 0.0)
            command(tmp_path, token="second", expirationTimestamp="2199-01-01T00:00:00Z")
            assert await asked() == ["Bearer second"] * 2
            assert runs(tmp_path) == 4
            command(tmp_path, token="third", expirationTimestamp="2199-01-01T00:00:00Z")
            assert await asked() == ["Bearer second"] * 2
            assert runs(tmp_path) == 4, "the second one has not expired"
            patch.setattr("qualtrics_exporter.controller.kube.auth.REFRESH", 0.0)
            assert await asked() == ["Bearer third"] * 2
            (tmp_path / "credential").write_text("something failed")
            assert await asked() == ["Bearer third"] * 2


async def test_a_command_that_takes_long_delays_only_who_needs_its_token(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qualtrics_exporter.controller.kube.auth.REFRESH", 0.0)
    release = tmp_path / "release"
    os.mkfifo(release)
    user = command(tmp_path, token="first")
    api.use({}, user)
    made = await login()
    user["exec"]["args"][1] = f"cat '{release}' && cat '{tmp_path}/credential'"
    api.use({}, user)
    command(tmp_path, token="second")
    given_up = asyncio.create_task(made.token())
    await asyncio.sleep(0)
    assert await made.token() == "Bearer first", "its token has not expired"
    given_up.cancel()
    monkeypatch.setattr("qualtrics_exporter.controller.kube.auth.REFRESH", HANG_SECONDS)
    # Opening it waits for the command, which waits for us.
    await asyncio.to_thread(release.write_text, "")
    async with asyncio.timeout(HANG_SECONDS):
        while await made.token() == "Bearer first":  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert await made.token() == "Bearer second"


async def test_a_client_certificate_of_a_command(api: Api, tmp_path: Path) -> None:
    certificate = client_certificate(api, tmp_path, "operator")
    api.use({}, command(tmp_path, clientCertificateData=certificate, clientKeyData=certificate))
    for heard in await api.asked_by_both():
        assert "authorization" not in heard.headers
    assert runs(tmp_path) == 2


@pytest.mark.parametrize("fault", [{"code": 1}, {"clientCertificateData": "a"}, {"apiVersion": "other"}])
async def test_a_command_without_credentials_is_told_at_the_start(api: Api, tmp_path: Path, fault: Fields) -> None:
    user = command(tmp_path, **fault)
    api.use({}, user)
    with pytest.raises(NotConfigured, match=r"the command sh of its user \(exec\) did not return credentials"):
        await connect()
    user["exec"]["command"] = "no-such-command"
    api.use({}, user)
    with pytest.raises(NotConfigured, match="the command no-such-command"):
        await connect()


async def test_an_auth_provider_that_is_not_supported_is_told_at_the_start(api: Api) -> None:
    api.use({}, {"auth-provider": {"name": "azure", "config": {"access-token": "s3cret"}}})
    with pytest.raises(NotConfigured, match=r"auth-provider azure of its user is not supported\. Use exec") as told:
        await connect()
    assert "s3cret" not in str(told.value)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("gcp", {"access-token": "{token}", "expiry": "2199-01-01T00:00:00Z"}),
        ("oidc", {"id-token": "{token}", "idp-issuer-url": "https://idp.example.com"}),
    ],
)
async def test_an_auth_provider(api: Api, name: str, fields: Fields) -> None:
    payload = base64.b64encode(json.dumps({"exp": 7226582400}).encode()).decode().rstrip("=")
    token = f"e30.{payload}.c2ln"
    api.use({}, {"auth-provider": {"name": name, "config": {k: v.format(token=token) for k, v in fields.items()}}})
    for heard in await api.asked_by_both():
        assert heard.headers["authorization"] == f"Bearer {token}"


async def test_impersonation(api: Api) -> None:
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
    for heard in await api.asked_by_both():
        assert heard.headers["impersonate-user"] == "system:serviceaccount:dex:surveys"
        assert heard.headers["impersonate-uid"] == "17"
        assert heard.headers["impersonate-group"] == "one"
        assert heard.headers["impersonate-extra-example.com%2fteam"] == "dex"
        assert heard.headers["authorization"] == "Bearer the-token"
    api.use({}, {"token": "the-token", "as-groups": ["system:masters"]})
    with pytest.raises(NotConfigured, match="without as"):
        await connect()


async def test_disable_compression(api: Api) -> None:
    api.use({"disable-compression": True})
    assert {heard.headers["accept-encoding"] for heard in await api.asked_by_both()} == {"identity"}


@pytest.mark.parametrize("field", ["certificate-authority", "client-certificate"])
async def test_a_file_that_cannot_be_used_is_told_at_the_start(api: Api, tmp_path: Path, field: str) -> None:
    (tmp_path / "bad.pem").write_text("no certificate")
    if field == "certificate-authority":
        api.use({field: "bad.pem"})
    else:
        api.use({}, {field: "bad.pem", "client-key": "bad.pem"})
    with pytest.raises(NotConfigured, match="cannot be used"):
        await connect()


async def test_a_redirect_to_elsewhere_gets_no_token(api: Api) -> None:
    api.use({"insecure-skip-tls-verify": True, "certificate-authority": None})
    async with Server(tls=api.tls_of("localhost")) as elsewhere:
        api.server.script(answer(302, headers={"Location": f"{elsewhere.url}/stolen"}))
        made = await login()
        async with made.session() as session, session.get(f"{made.server}/api") as reply:
            assert reply.status == 200
        assert "authorization" in api.server.heard[0].headers
        assert "authorization" not in elsewhere.heard[0].headers


async def test_a_token_that_is_rotated_reaches_a_session_that_is_open(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qualtrics_exporter.controller.kube.auth.REFRESH", 0.0)
    (tmp_path / "token").write_text("first")
    api.use({}, {"tokenFile": "token"})
    made = await login()
    async with made.session() as session:
        for token in ("first", "second"):
            (tmp_path / "token").write_text(token)
            await asyncio.sleep(0)
            async with session.get(f"{made.server}/of-kopf"):
                assert api.server.heard[-1].headers["authorization"] == f"Bearer {token}"


async def test_both_clients_are_known_by_their_name(api: Api) -> None:
    api.use({})
    names = {heard.headers["user-agent"] for heard in await api.asked_by_both()}
    assert len(names) == 1
    assert names.pop().startswith("qualtrics-exporter/")
