"""A run mails only people that the query returned, in any encoding and form of the result."""

import gzip

import pytest

from qualtrics_exporter.resource.status import Trigger
from tests.export.conftest import Exporter

UMLAUTS = ["j\u00f6rg.m\u00fcller@example.com", "j\u00fcrg.m\u00f6ller@example.com"]


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16"])
async def test_export_that_is_not_utf_8_mails_nobody(exporter: Exporter, encoding: str) -> None:
    """With replacement characters, both people would have the same address, and it would get a mail."""
    exporter.set_people_count(3000)
    file = "\r\n".join(["user.ad.email_address", *UMLAUTS, *(f"u{n}@example.com" for n in range(1000))])
    body = gzip.compress(file.encode(encoding))
    exporter.faults.add("nexthink.download", times=None, body=body)
    entry = await exporter.run()
    assert (entry.result, entry.reason) == ("Failed", "RemoteReplyInvalid")
    assert "UTF-" in entry.message
    assert "example.com" not in entry.message
    assert not exporter.mailed()
    assert exporter.count_calls("import_contacts") == 0


@pytest.mark.parametrize("cell", ['"john"@example.com', '"m"ike@example.com', '"a@example.co"m', 'o"neil@example.com'])
async def test_export_with_broken_quotes_mails_nobody(exporter: Exporter, cell: str) -> None:
    """CSV readers drop the quotes, and the rest may be the address of another person."""
    exporter.set_people_count(3000)
    file = "\n".join(["user.ad.email_address", cell, *(f"u{n}@example.com" for n in range(1000)), ""])
    exporter.faults.add("nexthink.download", times=None, body=gzip.compress(file.encode()))
    entry = await exporter.run()
    assert (entry.result, entry.reason) == ("Failed", "RemoteReplyInvalid")
    assert "quote" in entry.message
    assert not exporter.mailed()


@pytest.mark.parametrize("trigger", ["Schedule", "Test"])
async def test_export_without_a_header_line_mails_nobody(exporter: Exporter, trigger: Trigger) -> None:
    """A delivering test reads only the first 20 people of the file."""
    exporter.change_spec("nexthink", result_source="Export")
    exporter.set_people_count(3000)
    body = "".join(f"u{n}@example.com\n" for n in range(3000)).encode()
    exporter.faults.add("nexthink.download", times=None, body=body)
    entry = await exporter.run(trigger=trigger)
    assert entry.reason == "RemoteReplyInvalid"
    assert "no header line" in entry.message
    assert not exporter.mailed()


@pytest.mark.parametrize("rows", [5, 1500])
async def test_text_that_only_looks_like_an_address_is_invalid_in_small_and_large_results(
    exporter: Exporter, rows: int
) -> None:
    invalid = [
        "j\ufffdrg@example.com",
        "a\x01@example.com",
        "j_c.com#EXT#@t.onmicrosoft.com",
        "a@b.com" + " " * 500 + "x",
    ]
    valid = [f"user{n}@example.com" for n in range(rows)]
    exporter.set_people([*invalid, *valid])
    entry = await exporter.run()
    assert entry.recipients
    assert (entry.recipients.invalid, entry.recipients.accepted) == (4, rows)
    assert exporter.mailed() == dict.fromkeys(valid, 1)


async def test_people_whose_addresses_only_look_alike_are_all_mailed(exporter: Exporter) -> None:
    different = ["wei\u00df@example.com", "weiss@example.com", "anna@fa\u00df.de", "anna@fass.de", "\ufb01@example.com"]
    exporter.set_people([*different, "WEI\u1e9e@example.com", "ANNA@XN--FA-HIA.DE"])
    entry = await exporter.run()
    assert entry.recipients
    assert (entry.recipients.duplicate, entry.recipients.accepted) == (2, 5)
    assert exporter.mailed() == dict.fromkeys(different, 1)


async def test_result_without_addresses_fails_and_counts_its_rows_by_kind(exporter: Exporter) -> None:
    exporter.set_people(["", "none@none.com", "j_c.com#EXT#@t.onmicrosoft.com"])
    entry = await exporter.run()
    assert entry.reason == "QueryReturnsNoEmail"
    assert "3 rows, but no e-mail address among them: 1 are empty, and 2 are not addresses" in entry.message
