"""Which certificates are trusted, and why OpenSSL rejects others."""

import os
import ssl

import httpx

OTHER_HOST = {62, 63, 64}
"""X509_V_ERR_HOSTNAME_MISMATCH, and the same for addresses. Python's text for them shows the host."""


class UnusableAuthorities(Exception):
    """A file of certificate authorities cannot be used. The text is a clause."""

    def __init__(self, what: str, error: OSError) -> None:
        why = f": {error.strerror}" if error.errno and not isinstance(error, ssl.SSLError) else ""
        super().__init__(f"{what} cannot be read{why}")


def create_context() -> ssl.SSLContext:
    """The TLS settings for Nexthink, Qualtrics and proxies: public authorities, SSL_CERT_FILE and SSL_CERT_DIR.

    Raises `UnusableAuthorities`.
    """
    try:
        created = httpx.create_ssl_context(trust_env=False)
    except OSError as error:
        raise UnusableAuthorities("the public certificate authorities", error) from None
    add_private(created)
    return created


def add_private(context: ssl.SSLContext) -> None:
    """Add the authorities of SSL_CERT_FILE and SSL_CERT_DIR. Raises `UnusableAuthorities`."""
    for variable, kind in (("SSL_CERT_FILE", "cafile"), ("SSL_CERT_DIR", "capath")):
        if path := os.environ.get(variable):
            try:
                context.load_verify_locations(**{kind: path})
            except OSError as error:
                raise UnusableAuthorities(f"the certificate authorities of {variable}", error) from None
            trust_private(context)


def add_system(context: ssl.SSLContext) -> None:
    """Add the authorities of this machine. OpenSSL's default would leave them out if SSL_CERT_FILE is set."""
    paths = ssl.get_default_verify_paths()
    if os.path.isfile(paths.openssl_cafile):
        context.load_verify_locations(cafile=paths.openssl_cafile)
    if os.path.isdir(paths.openssl_capath):
        context.load_verify_locations(capath=paths.openssl_capath)


def trust_private(context: ssl.SSLContext) -> None:
    """Accept properties that only private authorities have.

    From Python 3.13 on, OpenSSL rejects certificates that RFC 5280 does not allow, such as those without key
    identifiers. Proxies that inspect TLS and older clusters use them. An authority may be an intermediate one, as for
    Go.
    """
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN


def reason(error: BaseException) -> str | None:
    """OpenSSL's reason, as a clause without a host; None if this error is not about TLS."""
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in OTHER_HOST:
            return "it is for another host"
        return str(error.verify_message or "it cannot be verified")
    if isinstance(error, ssl.SSLError) and error.reason:
        return str(error.reason).replace("_", " ").lower()
    return None
