"""The URLs to which the operator connects. Each forbidden URL is an attempt to bypass the rules."""

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from qualtrics_exporter.remote.errors import Permanent
from qualtrics_exporter.remote.hosts import DEFAULT_ALLOWED_HOSTS, DEFAULT_DOWNLOAD_HOSTS, LONGEST_URL, HostRules
from qualtrics_exporter.resource.reasons import Reason

DEFAULT = HostRules(DEFAULT_ALLOWED_HOSTS)
DOWNLOADS = HostRules(DEFAULT_DOWNLOAD_HOSTS)

ALLOWED_URLS = {
    "https://iad1.qualtrics.com": ("iad1.qualtrics.com", 443),
    "https://IAD1.Qualtrics.COM": ("iad1.qualtrics.com", 443),
    "HTTPS://iad1.qualtrics.com/": ("iad1.qualtrics.com", 443),
    "https://a.b.qualtrics.com:443/API/v3?x=1&y=%20": ("a.b.qualtrics.com", 443),
    "https://acme.api.eu.nexthink.cloud": ("acme.api.eu.nexthink.cloud", 443),
    "https://xn--bcher-kva.qualtrics.com": ("xn--bcher-kva.qualtrics.com", 443),
    "https://iad1.qualtrics.com?x": ("iad1.qualtrics.com", 443),
}

FORBIDDEN_URLS = [
    "",
    "iad1.qualtrics.com",
    "//iad1.qualtrics.com",
    "https:iad1.qualtrics.com",
    "https:/iad1.qualtrics.com",
    "https:///iad1.qualtrics.com",
    "http://iad1.qualtrics.com",
    "ftp://iad1.qualtrics.com",
    "file:///etc/passwd",
    "javascript:alert(1)//.qualtrics.com",
    "https://example.com",
    "https://bucket.s3.eu-central-1.amazonaws.com/",
    "https://abc123.execute-api.eu-central-1.amazonaws.com/",
    "https://iad1.qualtrics.com:8443",
    "https://iad1.qualtrics.com:22",
    f"https://iad1.qualtrics.com/{'a' * LONGEST_URL}",
    "https://qualtrics.com",
    "https://evilqualtrics.com",
    "https://iad1.qualtrics.com.example.com",
    "https://example.com/iad1.qualtrics.com",
    "https://example.com?iad1.qualtrics.com",
    "https://example.com?.qualtrics.com",
    "https://example.com#.qualtrics.com",
    "https://iad1.qualtrics.com#x",
    "https://example.com\\.qualtrics.com",
    "https://example.com\\@iad1.qualtrics.com",
    "https://iad1.qualtrics.com\\@example.com",
    "https:\\\\iad1.qualtrics.com",
    "https://user@iad1.qualtrics.com",
    "https://user:word@iad1.qualtrics.com",
    "https://iad1.qualtrics.com@example.com",
    "https://iad1.qualtrics.com:443@example.com",
    "https://@iad1.qualtrics.com",
    "https://iad1.qualtrics.com.",
    "https://.qualtrics.com",
    "https://-.qualtrics.com",
    "https://a-.qualtrics.com",
    "https://a..qualtrics.com",
    "https://*.qualtrics.com",
    "https://iad1_.qualtrics.com",
    "https://iad1%2Equaltrics.com",
    "https://example.com%2F.qualtrics.com",
    "https://example.com%00.qualtrics.com",
    "https://example.com\x00.qualtrics.com",
    "https://iad1.qualtrics.com\r\nHost: example.com",
    "https://iad1.qualtrics.com/\r\nX: y",
    "https://iad1.qualtrics.com/\x00",
    "https://iad1.qualtrics.com/a b",
    "https://iad1.qualtrics.com/\ta",
    "https://iad1.qualtrics.com/<x>",
    'https://iad1.qualtrics.com/"',
    "https://iad1.qualtrics.com/ä",
    " https://iad1.qualtrics.com",
    "https://iad1.qualtrics.com ",
    "https://iad1.qualtrics.com\n",
    "\nhttps://iad1.qualtrics.com",
    "https://iad1.qualtrics.com:",
    "https://iad1.qualtrics.com:0",
    "https://iad1.qualtrics.com:65536",
    "https://iad1.qualtrics.com:99999",
    "https://iad1.qualtrics.com:0443",
    "https://iad1.qualtrics.com:+443",
    "https://iad1.qualtrics.com:443x",
    "https://iad1.qualtrics.com:443:443",
    "https://iad1.qualtrics.com:\u0664\u0664\u0663",
    "https://bücher.qualtrics.com",
    "https://iad1。qualtrics.com",
    "https://iad1.\uff51ualtrics.com",
    "https://iad1.qualtricſ.com",
    "https://iad1.qualtrics.com\u202e",
    "https://iad1.qua\u00adltrics.com",
    "https://iad1.qualtrıcs.com",
    "https://127.0.0.1",
    "https://127.1",
    "https://2130706433",
    "https://0x7f000001",
    "https://0x7f.0.0.1",
    "https://0177.0.0.1",
    "https://127.0.0.1.",
    "https://0",
    "https://169.254.169.254/latest/meta-data",
    "https://[::1]",
    "https://[::ffff:127.0.0.1]",
    "https://[fe80::1%25eth0]",
    "https://[::1].qualtrics.com",
    "https://[iad1.qualtrics.com]",
    "https://[]",
    "https://localhost",
    "https://kubernetes.default.svc",
    f"https://{'a' * 64}.qualtrics.com",
    f"https://{'a.' * 130}qualtrics.com",
]


@pytest.mark.parametrize("text", ALLOWED_URLS)
def test_a_url_of_an_allowed_host_is_accepted(text: str) -> None:
    url = DEFAULT.check(text, "The url")
    assert (url.host, url.port) == ALLOWED_URLS[text]


@pytest.mark.parametrize("text", FORBIDDEN_URLS)
def test_a_forbidden_url_is_rejected_with_host_not_allowed(text: str) -> None:
    with pytest.raises(Permanent) as error:
        DEFAULT.check(text, "The url of Secret dex/qualtrics")
    assert error.value.reason is Reason.HOST_NOT_ALLOWED
    assert error.value.message.startswith("The url of Secret dex/qualtrics ")
    assert "word" not in error.value.message


@pytest.mark.parametrize(
    "text", ["https://example.com/path?query", "https://169.254.169.254", "https://kubernetes.default.svc"]
)
def test_the_error_names_the_allowed_hosts_and_shows_no_part_of_the_url(text: str) -> None:
    with pytest.raises(Permanent) as error:
        HostRules(["*.qualtrics.com", "proxy.test"]).check(text, "The tokenUrl of Secret dex/qualtrics")
    assert error.value.what == (
        "The tokenUrl of Secret dex/qualtrics has a host that is not one of *.qualtrics.com, proxy.test"
    )


DOWNLOAD_URLS = [
    "https://bucket.s3.eu-central-1.amazonaws.com/a/b.csv.gz?X-Amz-Signature=0a+/=&u=me@example.com",
    "https://bucket.s3.amazonaws.com/a",
    "https://a.bucket.with.dots.s3.us-east-1.amazonaws.com/a",
    "https://s3.eu-central-1.amazonaws.com/bucket/a",
    "https://s3.amazonaws.com/bucket/a",
]


@pytest.mark.parametrize("text", DOWNLOAD_URLS)
def test_a_download_from_s3_is_allowed_in_any_region(text: str) -> None:
    assert DOWNLOADS.check(text, "The file").port == 443


@pytest.mark.parametrize(
    "text",
    [
        "https://abc123.execute-api.eu-central-1.amazonaws.com/",
        "https://lb-1.eu-central-1.elb.amazonaws.com/",
        "https://ec2-192-0-2-1.eu-central-1.compute.amazonaws.com/",
        "https://x.s3-object-lambda.eu-central-1.amazonaws.com/",
        "https://bucket.s3-website.eu-central-1.amazonaws.com/",
        "https://s3.execute-api.eu-central-1.amazonaws.com/",
        "https://bucket.s3.a.b.amazonaws.com/",
        "https://evils3.amazonaws.com/",
        "https://bucket.s3.amazonaws.com.example.com/",
        "https://bucket.s3.eu-central-1.amazonaws.com:8443/",
        "https://iad1.qualtrics.com/",
        "https://acme.api.eu.nexthink.cloud/",
        "http://bucket.s3.amazonaws.com/",
    ],
)
def test_a_download_from_another_service_of_amazon_or_from_an_api_is_rejected(text: str) -> None:
    with pytest.raises(Permanent) as error:
        DOWNLOADS.check(text, "The file")
    assert error.value.reason is Reason.HOST_NOT_ALLOWED


@pytest.mark.parametrize(
    ("pattern", "text", "allowed"),
    [
        ("proxy.example.com", "https://proxy.example.com", True),
        ("proxy.example.com", "https://proxy.example.com:8443", False),
        ("proxy.example.com:8443", "https://proxy.example.com:8443", True),
        ("proxy.example.com:8443", "https://proxy.example.com", False),
        ("*.example.com:8443", "https://a.b.example.com:8443", True),
        ("*.example.com:8443", "https://a.b.example.com", False),
        ("[2001:db8::1]:8443", "https://[2001:db8::1]:8443", True),
        ("[2001:db8::1]", "https://[2001:db8::1]:8443", False),
        ("localhost", "https://localhost:8443", True),
        ("127.0.0.1", "https://127.0.0.1:8443", True),
        ("localhost:8443", "https://localhost:8444", False),
        ("sandbox", "http://sandbox:8471", True),
        ("sandbox", "https://sandbox:8471", False),
        ("sandbox:8471", "http://sandbox:8472", False),
    ],
)
def test_a_port_other_than_443_must_be_listed_except_for_loopback_and_plain_http(
    pattern: str, text: str, allowed: bool
) -> None:
    rules = HostRules([pattern], allow_http=text.startswith("http:"))
    if allowed:
        assert rules.check(text, "It").text == HostRules([pattern], allow_http=True).check(text, "It").text
    else:
        with pytest.raises(Permanent, match="port"):
            rules.check(text, "It")


@given(st.text(alphabet="htps:/.@\\#?[]%qualtricsom0x1 \t\n-", max_size=40).map("https://".__add__))
@example("https://a.qualtrics.com")
def test_httpx_reads_every_accepted_url_in_the_same_way(text: str) -> None:
    try:
        url = DEFAULT.check(text, "It")
    except Permanent:
        return
    by_httpx = httpx.URL(url.text)
    assert by_httpx.raw_host.decode() == url.host
    assert by_httpx.port in (url.port, None)
    assert by_httpx.userinfo == b""
    assert url.host.endswith((".qualtrics.com", ".nexthink.cloud"))
    assert url.port == 443


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f.0.0.1", "0177.0.0.1", "localhost", "127.0.0.2"])
def test_an_ipv4_address_is_allowed_only_in_the_listed_notation(host: str) -> None:
    rules = HostRules(["127.0.0.1"], allow_http=True)
    assert rules.check("http://127.0.0.1:8080/x", "It").text == "http://127.0.0.1:8080/x"
    with pytest.raises(Permanent):
        rules.check(f"http://{host}:8080/x", "It")


@pytest.mark.parametrize("text", ["https://[::1]/", "https://[0:0:0:0:0:0:0:1]/", "https://[::0001]:443/"])
def test_an_ipv6_address_is_allowed_in_any_notation(text: str) -> None:
    assert HostRules(["::1"]).check(text, "It").text == "https://[::1]:443/"
    assert HostRules(["[::1]"]).check(text, "It").host == "::1"


def test_plain_http_is_allowed_with_allow_http_and_only_for_allowed_hosts() -> None:
    rules = HostRules(["*.qualtrics.com"], allow_http=True)
    assert rules.check("http://a.qualtrics.com", "It").port == 80
    assert rules.check("https://a.qualtrics.com", "It").port == 443
    with pytest.raises(Permanent):
        rules.check("http://example.com", "It")


def test_the_list_of_allowed_hosts_replaces_the_default() -> None:
    with pytest.raises(Permanent):
        HostRules(["proxy.example.com"]).check("https://iad1.qualtrics.com", "It")


INVALID_PATTERNS = """
* *. *.*.com a.*.com **.com *.com.* a*.com https://a.com a.com:0 a.com:65536 a.com:* a.com/ *.[::1] ä.com 127.1
"""


@pytest.mark.parametrize("pattern", ["", *INVALID_PATTERNS.split()])
def test_an_invalid_host_pattern_is_rejected(pattern: str) -> None:
    with pytest.raises(ValueError, match="host name or"):
        HostRules([pattern])


def test_the_repr_of_a_url_shows_no_path_and_no_query() -> None:
    url = DOWNLOADS.check("https://bucket.s3.amazonaws.com/secret-path?X-Amz-Signature=abc", "It")
    assert repr(url) == "<Url of https://bucket.s3.amazonaws.com:443>"
