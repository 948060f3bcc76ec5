"""The people of the sandbox's default query, and the type of the fixture `mailed_addresses`."""

from collections.abc import Callable

from tests.support.stage import Stage

EVERYBODY = {f"{name}@example.com" for name in ("ana", "ben", "chiara", "dmitri", "eva", "farid")}
MailedAddresses = Callable[[Stage], set[str]]
