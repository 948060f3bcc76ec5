"""Only the names of the IANA time zone database are accepted, and no other paths of files."""

from zoneinfo import ZoneInfo, available_timezones

import pytest

from qualtrics_exporter.schedule import UnknownTimeZone, zone


def test_every_iana_name_is_a_time_zone() -> None:
    for name in available_timezones() - {"localtime"}:
        assert zone(name) is ZoneInfo(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        ".",
        "..",
        "Local",
        "localtime",
        "posixrules",
        "Europe",
        "Europe/",
        "Europe/Zurich ",
        "Europe/Zurich\n",
        "Europe/Zurich\0",
        "Europe/../Europe/Zurich",
        "../zoneinfo/UTC",
        "../../etc/passwd",
        "/etc/localtime",
        "/usr/share/zoneinfo/UTC",
        "C:\\zone",
        "+02:00",
        "UTC+2",
        "CEST",
        "zone.tab",
        "__init__.py",
        "europe/zurich",
        "Zürich",
        "\ud800",
        "x" * 10_000,
    ],
)
def test_any_other_name_is_rejected_with_an_explanation(name: str) -> None:
    with pytest.raises(UnknownTimeZone, match=r"is not the name of an IANA time zone: (did you mean '|write one such)"):
        zone(name)


@pytest.mark.parametrize("name", ["Europe/Zuerich", "europe/zurich", "Europe/Zürich"])
def test_misspelled_name_gets_a_suggestion(name: str) -> None:
    with pytest.raises(UnknownTimeZone, match="did you mean 'Europe/Zurich'"):
        zone(name)
