"""A customer's account in both services: its data, and settings for what is unknown about the real services.

Unknown facts (Nexthink §1, Qualtrics §2, §3 and §5) are fields with a default, so that tests can try each possibility.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from qualtrics_exporter.sandbox.limits import Limits
from qualtrics_exporter.sandbox.samples import SAMPLES, TEAMS_ROLLOUT

Rows = Sequence[Sequence[object]] | Callable[[], Iterable[Sequence[object]]]

EMAIL = "user.ad.email_address"


class GeneratedPeople:
    """Rows with user000001@example.com and so on. They are never all in memory."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __call__(self) -> Iterator[Sequence[object]]:
        return ([f"user{n:06d}@example.com"] for n in range(1, self.count + 1))


@dataclass
class Query:
    """A saved query. `rows` is a list of rows, or a function that returns new rows for each execution."""

    id: str
    columns: list[str]
    rows: Rows
    executed: str = "users\n| list ad.email_address"
    """The NQL that runs. A `$name` in it is replaced by the parameter of the request."""
    truncated: bool = False
    """The license limits the rows: the status of an export is 206 (Nexthink §1, D)."""
    permitted: bool = True
    export_error: str | None = None
    """If set, exports end with the status ERROR and this description."""
    heavy: bool = False
    """The query fails if it is executed, and works if it is exported (Nexthink §1, S)."""

    @classmethod
    def people(cls, query_id: str, addresses: Iterable[object], *, executed: str | None = None) -> "Query":
        """A query with one column of addresses. An empty address or None is a user without an address."""
        rows = [[address] for address in addresses]
        return cls(query_id, [EMAIL], rows) if executed is None else cls(query_id, [EMAIL], rows, executed)

    @classmethod
    def generated(cls, query_id: str, count: int) -> "Query":
        """A query that returns `count` people."""
        return cls(query_id, [EMAIL], GeneratedPeople(count))

    def size(self) -> tuple[int, int] | None:
        """The numbers of rows and of different people. None if the rows are known only when it is executed."""
        if isinstance(self.rows, GeneratedPeople):
            return self.rows.count, self.rows.count
        if callable(self.rows):
            return None
        people = {cell.lower() for row in self.rows for cell in row if isinstance(cell, str) and "@" in cell}
        return len(self.rows), len(people)

    def stream(self) -> Iterable[Sequence[object]]:
        """The rows, as an iterable."""
        return self.rows() if callable(self.rows) else self.rows


@dataclass
class Credential:
    """An OAuth client. `elsewhere`: whether it belongs to another datacenter, and which requests fail because of it."""

    client_id: str
    client_secret: str = field(repr=False)
    scopes: frozenset[str]
    elsewhere: Literal["no", "token", "call"] = "no"


@dataclass
class Survey:
    id: str
    name: str
    active: bool = True
    starts: datetime | None = None
    ends: datetime | None = None


@dataclass
class Message:
    id: str
    library_id: str
    category: str = "invite"
    description: str = "Invitation"
    texts: dict[str, str] = field(default_factory=lambda: {"en": "Hello,<br>${l://SurveyURL}"})


@dataclass
class MailingList:
    id: str
    directory_id: str
    name: str = "Employees"
    bystanders: list[str] = field(default_factory=list)
    """People who are on the list before any import. They must not get a mail."""


@dataclass
class Directory:
    id: str
    name: str = "Default directory"


@dataclass
class Account:
    """The data and the settings of both services. You can change them at any time: each request reads them again."""

    nexthink_credentials: list[Credential] = field(default_factory=list)
    qualtrics_credentials: list[Credential] = field(default_factory=list)
    queries: dict[str, Query] = field(default_factory=dict)
    surveys: dict[str, Survey] = field(default_factory=dict)
    messages: dict[str, Message] = field(default_factory=dict)
    directories: dict[str, Directory] = field(default_factory=dict)
    mailing_lists: dict[str, MailingList] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)

    # The ids of the default account.
    query_id: str = TEAMS_ROLLOUT.query_id
    survey_id: str = TEAMS_ROLLOUT.survey_id
    inactive_survey_id: str = "SV_oldSurvey00001"
    message_id: str = "MS_invitation0001"
    other_message_id: str = "MS_thankYou000001"
    library_id: str = "UR_library000001"
    directory_id: str = "POOL_employees00001"
    mailing_list_id: str = "CG_everybody0001"

    # Settings of Nexthink.
    nexthink_token_seconds: int = 900
    heavy_status: int = 504
    """The status with which the execution of a heavy query fails (?): 504 if a gateway timed out."""
    export_polls: int = 2
    """How many requests for the status return SUBMITTED or IN_PROGRESS before one returns COMPLETED."""
    export_completed_word: Literal["COMPLETED", "COMPLETE"] = "COMPLETED"
    download_seconds: int = 900
    download_content_encoding: bool = False
    """Whether the object store sends `Content-Encoding` with a compressed file (?)."""
    csv_byte_order_mark: bool = False
    csv_line_end: Literal["\n", "\r\n"] = "\n"
    parameters_quoted: bool = True
    """Whether `executedQuery` has the values of parameters in quotes (?)."""
    instance_zone: str = "Europe/Zurich"

    # Settings of Qualtrics.
    qualtrics_token_seconds: int = 3600
    directories_page_size: int = 2
    """Elements on a page. Clients cannot change it, since the documented sizes contradict each other (Qualtrics §2)."""
    distributions_page_size: int = 100
    rows_page_size: int = 100
    """Elements on a page of transactions and of the history of a distribution."""
    next_page_origin: str | None = None
    """Another scheme, host and port in `nextPage`. Clients must not send their token there (Qualtrics §1)."""
    import_polls: int = 1
    """An import is in progress for this many requests for its status, …"""
    import_seconds: float = 5
    """… or for this many seconds, whichever ends first."""
    import_seconds_per_thousand: float = 0
    """An import takes this much longer for each thousand contacts, and `import_polls` does not apply. The imports for
    one mailing list are done one after the other (Qualtrics §2, I)."""
    import_ends: Literal["complete", "failed"] = "complete"
    busy_list: Literal["refuse", "queue"] = "queue"
    """Whether a second import for a mailing list waits or gets a 429. Qualtrics does one at a time (D/S)."""
    delivery_seconds: float = 5
    """How long a distribution is Pending, with statistics of zero."""
    suppression_hours: float = 12
    """The documentation says 12 hours, an older page "same hour", users report 24 hours (Qualtrics §5)."""
    list_lag_seconds: float = 0
    """How long the list does not show a new distribution (Qualtrics §3, ?)."""
    batch_echo: Literal["mailingListId", "byId", "never"] = "byId"
    """Where Qualtrics shows the batch id of a distribution: also in the list and its filter `mailingListId`, only in a
    read by id (D, one example), or never."""
    own_domains: set[str] = field(default_factory=set)
    """More sender domains that the brand has registered."""
    refused_addresses: set[str] = field(default_factory=set)
    """An import counts these addresses as failed."""
    vanishing_addresses: set[str] = field(default_factory=set)
    """An import loses these addresses without counting them."""
    opted_out_addresses: set[str] = field(default_factory=set)
    bouncing_addresses: set[str] = field(default_factory=set)

    @classmethod
    def default(cls) -> "Account":
        """An account with everything that the manifests in `samples/` need, and things that are easily confused."""
        account = cls()
        account.nexthink_credentials.append(
            Credential("nexthink-client", "nexthink-sandbox-secret", frozenset({"service:integration"}))
        )
        account.qualtrics_credentials.append(
            Credential("qualtrics-client", "qualtrics-sandbox-secret", frozenset({"manage:all"}))
        )
        for sample in SAMPLES:
            people = [f"{name}@example.com" if name else "" for name in sample.names]
            account.add_query(Query.people(sample.query_id, people, executed=sample.nql))
            account.add_survey(sample.survey_id, sample.survey)
        account.add_survey(account.inactive_survey_id, "Last year's survey", active=False)
        account.add_message(account.message_id)
        account.add_message(account.other_message_id, category="thankYou", texts={"en": "Thank you!"})
        # The directory that the samples use is on the second page.
        account.add_directory("POOL_customers00001", "Customers")
        account.add_directory("POOL_students000001", "Students")
        account.add_directory(account.directory_id, "Employees")
        bystanders = ["bystander1@example.com", "bystander2@example.com"]
        account.add_mailing_list(account.mailing_list_id, account.directory_id, bystanders=bystanders)
        return account

    def exporter_spec(self) -> dict[str, Any]:
        """The spec of an exporter with the ids of this account, as JSON: the sandbox does not import its models."""
        return {
            "schedule": {"frequency": "Weekly", "dayOfWeek": "Monday", "timeZone": "Europe/Zurich"},
            "nexthink": {
                "credentialsSecretRef": {"name": "nexthink"},
                "query": self.queries[self.query_id].executed,
                "queryId": self.query_id,
            },
            "qualtrics": {
                "credentialsSecretRef": {"name": "qualtrics"},
                "surveyId": self.survey_id,
                "directoryId": self.directory_id,
                "messageId": self.message_id,
                "libraryId": self.library_id,
                "mailingListId": self.mailing_list_id,
                "fromEmail": "noreply@qemailserver.com",
                "fromName": "Digital Workplace",
                "subject": "How is Teams working for you?",
            },
        }

    def add_query(self, query: Query) -> Query:
        self.queries[query.id] = query
        return query

    def add_survey(self, survey_id: str, name: str = "A survey", *, active: bool = True) -> Survey:
        survey = Survey(survey_id, name, active)
        self.surveys[survey_id] = survey
        return survey

    def add_message(
        self,
        message_id: str,
        *,
        library_id: str | None = None,
        category: str = "invite",
        texts: dict[str, str] | None = None,
    ) -> Message:
        message = Message(message_id, library_id or self.library_id, category, category.capitalize())
        if texts is not None:
            message.texts = texts
        self.messages[message_id] = message
        return message

    def add_directory(self, directory_id: str, name: str = "A directory") -> Directory:
        return self.directories.setdefault(directory_id, Directory(directory_id, name))

    def add_mailing_list(
        self, list_id: str, directory_id: str | None = None, *, bystanders: Iterable[str] = ()
    ) -> MailingList:
        mailing_list = MailingList(list_id, directory_id or self.directory_id, bystanders=list(bystanders))
        self.mailing_lists[list_id] = mailing_list
        return mailing_list

    def has_list(self, directory_id: str, list_id: str) -> bool:
        """Whether the mailing list exists in the directory."""
        found = self.mailing_lists.get(list_id)
        return found is not None and found.directory_id == directory_id and directory_id in self.directories
