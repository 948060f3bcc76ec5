"""The verdict of a check: what is wrong with an exporter, the warnings, and what the query returned."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qualtrics_exporter.export.guards import CheckWarning
from qualtrics_exporter.export.journal import QuerySync
from qualtrics_exporter.remote.errors import ExportError
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.status import CredentialsExpiry
from qualtrics_exporter.resource.status import RecipientCounts as Counts

if TYPE_CHECKING:  # imported at run time, the clients would make `kubectl qex` slow
    from qualtrics_exporter.export.query import QueryResult

_FROM_QUALTRICS = frozenset({Reason.REQUESTS_PROXIED})


@dataclass(frozen=True, slots=True)
class Verdict:
    """The first error of each part (None: no error was found), the warnings, and the answer if the query ran."""

    spec: ExportError | None = None
    query_text: ExportError | None = None
    nexthink: ExportError | None = None
    qualtrics: ExportError | None = None
    answer: "QueryResult | None" = None
    warnings: tuple[CheckWarning, ...] = ()
    qualtrics_checked: bool = False
    """Whether Qualtrics was checked now. Otherwise `qualtrics` and its warnings are from an earlier check, if any."""

    credentials_expiry: CredentialsExpiry | None = None
    """When the credentials expire; None if that was not read."""

    @property
    def errors(self) -> list[ExportError]:
        """All errors. Those that the user can fix alone come first."""
        return [error for error in (self.spec, self.query_text, self.nexthink, self.qualtrics) if error is not None]

    @property
    def error(self) -> ExportError | None:
        """The error that the user should fix first."""
        return next(iter(self.errors), None)

    def raise_error(self) -> None:
        """Raise that error, if there is one."""
        if self.error:
            raise self.error

    @property
    def needs_new_spec(self) -> bool:
        """Whether another check cannot help before the spec changes."""
        return bool(self.spec or (self.query_text and not self.nexthink and not self.qualtrics))

    @property
    def qualtrics_warnings(self) -> tuple[CheckWarning, ...]:
        """The warnings that come from the replies of Qualtrics."""
        return tuple(warning for warning in self.warnings if warning.reason in _FROM_QUALTRICS)

    @property
    def query_sync(self) -> QuerySync | None:
        """Whether Nexthink ran the query of the spec; None if no query was run."""
        return self.answer.sync if self.answer else None

    @property
    def counts(self) -> Counts | None:
        """How many people the query returned; None if no query was run."""
        return self.answer.recipients.counts if self.answer else None
