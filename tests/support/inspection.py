"""A certificate authority like those of TLS inspection: it has no key identifiers, so strict OpenSSL rejects it."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Inspection:
    """A CA certificate in `authority`, and in `server` a server certificate with its key. Both are PEM files."""

    def __init__(self, folder: Path, *names: str, valid: timedelta = timedelta(days=30)) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.authority = folder / "inspection-ca.pem"
        self.server = folder / "inspected.pem"
        key, leaf_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Corp Inspection CA")])
        end = datetime.now(UTC) + valid
        authority = (
            _certificate(issuer, issuer, key.public_key(), end)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=False)
            .sign(key, hashes.SHA256())
        )
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        leaf = (
            _certificate(subject, issuer, leaf_key.public_key(), end)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
            .sign(key, hashes.SHA256())
        )
        pem = serialization.Encoding.PEM
        self.authority.write_bytes(authority.public_bytes(pem))
        unencrypted = serialization.NoEncryption()
        self.server.write_bytes(
            leaf_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, unencrypted) + leaf.public_bytes(pem)
        )

    @property
    def context(self) -> ssl.SSLContext:
        """The TLS context of a server with this certificate."""
        server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server_context.load_cert_chain(self.server)
        return server_context


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - timedelta(days=60))
        .not_valid_after(end)
    )
