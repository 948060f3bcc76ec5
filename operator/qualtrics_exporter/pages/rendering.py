"""Makes pages from templates. All values are escaped; a name that does not exist is an error."""

from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from qualtrics_exporter.pages.times import ago, local


class Pages:
    """The templates of a package below the shared ones.

    `base` is the path of the page's root, which begins and ends with a slash; `brand` and `links` are in the header of
    each page. A link is a pair of path below `base` and text.
    """

    def __init__(self, package: str, *, base: str, brand: str, links: Mapping[str, str], where: str = "") -> None:
        loaders = [PackageLoader(package), PackageLoader("qualtrics_exporter.pages")]
        self._environment = Environment(
            loader=ChoiceLoader(loaders),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals.update(base=base, brand=brand, links=links, where=where)
        self._environment.filters.update(number=number, iso=iso)

    def render(self, template: str, *, now: datetime, zone: tzinfo | None, **values: Any) -> str:
        """The page. Its times are in this zone; `None` is the zone of the machine."""
        times = {
            "local": lambda time: local(time, zone),
            "ago": lambda time: ago(time, now),
            "zone_name": getattr(zone, "key", ""),
            "now": now,
        }
        return self._environment.get_template(template).render({**times, **values})


def number(value: int | None) -> str:
    """A number with narrow spaces between groups of digits; empty if it is unknown."""
    return "" if value is None else f"{value:,}".replace(",", "\u202f")


def iso(time: datetime) -> str:
    """A time for the attribute `datetime` of HTML."""
    return time.astimezone(UTC).isoformat(timespec="seconds")
