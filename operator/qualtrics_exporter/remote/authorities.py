"""Whose certificates are trusted, and what OpenSSL says of those that are not."""

import os
import ssl

import httpx

OTHER_HOST = {62, 63, 64}
"""X509_V_ERR_HOSTNAME_MISMATCH and its like for addresses. Python's text for them shows the host."""


class UnusableAuthorities(Exception):
    """A file of certificate authorities cannot be used. The text is a clause."""

    def __init__(self, whose: str, error: OSError) -> None:
        why = f": {error.strerror}" if error.errno and not isinstance(error, ssl.SSLError) else ""
        super().__init__(f"{whose} cannot be read{why}")


def context() -> ssl.SSLContext:
    """For connections to remote hosts: the public authorities, and those of SSL_CERT_FILE and SSL_CERT_DIR.

    Raises `UnusableAuthorities`.
    """
    try:
        made = httpx.create_ssl_context(trust_env=False)
    except OSError as error:
        raise UnusableAuthorities("the public certificate authorities", error) from None
    add_private(made)
    return made


def add_private(made: ssl.SSLContext) -> None:
    """Add the authorities of SSL_CERT_FILE and SSL_CERT_DIR. Raises `UnusableAuthorities`."""
    for variable, kind in (("SSL_CERT_FILE", "cafile"), ("SSL_CERT_DIR", "capath")):
        if path := os.environ.get(variable):
            try:
                made.load_verify_locations(**{kind: path})
            except OSError as error:
                raise UnusableAuthorities(f"the certificate authorities of {variable}", error) from None
            trust_private(made)


def add_system(made: ssl.SSLContext) -> None:
    """Add those of this machine. OpenSSL's own way to do that would leave them out if SSL_CERT_FILE is set."""
    paths = ssl.get_default_verify_paths()
    if os.path.isfile(paths.openssl_cafile):
        made.load_verify_locations(cafile=paths.openssl_cafile)
    if os.path.isdir(paths.openssl_capath):
        made.load_verify_locations(capath=paths.openssl_capath)


def trust_private(made: ssl.SSLContext) -> None:
    """Accept what private authorities have and public ones must not have.

    From Python 3.13 on, OpenSSL is asked to reject certificates without key identifiers and the like (RFC 5280). Those
    who inspect TLS, and older clusters, use them. An authority may also be an intermediate one, as for Go.
    """
    made.verify_flags &= ~ssl.VERIFY_X509_STRICT
    made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN


def reason(error: BaseException) -> str | None:
    """What OpenSSL says, as a clause; None if this error is not about TLS. It shows no host."""
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in OTHER_HOST:
            return "it is for another host"
        return str(error.verify_message or "it cannot be verified")
    if isinstance(error, ssl.SSLError) and error.reason:
        return str(error.reason).replace("_", " ").lower()
    return None
