"""The keys of a node: a certificate authority, certificates, and a token for each component.

Each node has new keys, which are removed with it.
"""

import secrets
import ssl
from pathlib import Path

import trustme

from hack.kubectl import write_kubeconfig
from hack.node import settings


class Keys:
    """All keys, in one folder. In the node, this folder is /node/keys."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tokens = {name: secrets.token_urlsafe() for name in settings.USERS}

    def write(self) -> None:
        """Write certificates, keys, tokens and a kubeconfig for each component."""
        self._folder.mkdir()
        authority = trustme.CA()
        authority.cert_pem.write_to_path(self._folder / "ca.pem")
        services = ("kubernetes", "kubernetes.default", "kubernetes.default.svc")
        names = (*services, f"kubernetes.default.svc.{settings.DOMAIN}", "localhost", "127.0.0.1")
        server = authority.issue_cert(*names, settings.ADDRESS, settings.API_SERVICE)
        server.private_key_and_cert_chain_pem.write_to_path(self._folder / "server.pem")
        # The kubelet authenticates the API server by this certificate. Go rejects a certificate without names.
        client = authority.issue_cert("localhost", common_name="kube-apiserver", organization_name="system:masters")
        client.private_key_and_cert_chain_pem.write_to_path(self._folder / "apiserver.pem")
        authority.issue_cert("localhost").private_key_pem.write_to_path(self._folder / "tokens.pem")
        users = [f'{self._tokens[key]},{name},{key},"{group}"\n' for key, (name, group) in settings.USERS.items()]
        (self._folder / "users.csv").write_text("".join(users))
        inside = {"server": f"https://{settings.ADDRESS}:{settings.PORT}", "certificate-authority": "/node/keys/ca.pem"}
        for name, token in self._tokens.items():
            write_kubeconfig(self._folder / f"{name}.kubeconfig", inside, token, "default")

    def kubeconfig(self, path: Path, address: tuple[str, int]) -> None:
        """Write the administrator's kubeconfig for an address outside the node."""
        host, port = address
        outside = {"server": f"https://{host}:{port}", "certificate-authority": str(self._folder / "ca.pem")}
        write_kubeconfig(path, outside, self._tokens["admin"], "default")

    def headers(self) -> dict[str, str]:
        """Return the headers that authenticate the administrator."""
        return {"Authorization": f"Bearer {self._tokens['admin']}"}

    def trust(self) -> ssl.SSLContext:
        """Return a TLS context that trusts only the API server."""
        return ssl.create_default_context(cafile=str(self._folder / "ca.pem"))
