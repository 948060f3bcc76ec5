"""What exists on the two sides: plain data, and the knobs for what is unknown about the real ones."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from qualtrics_exporter.sandbox.limits import Limits
from qualtrics_exporter.sandbox.samples import SAMPLES, TEAMS_ROLLOUT

Rows = Sequence[Sequence[object]] | Callable[[], Iterable[Sequence[object]]]

EMAIL = "user.ad.email_address"


@dataclass
class Query:
    """A saved query. `rows` is a list of rows, or a function that yields them anew for every execution."""

    id: str
    columns: list[str]
    rows: Rows
    executed: str = "users\n| list ad.email_address"
    """The NQL that really runs; may hold $names, filled in from the request's parameters."""
    truncated: bool = False
    """The licence cuts the rows: the status of its export is 206 (Nexthink §1, D)."""
    permitted: bool = True
    export_error: str | None = None
    """An export ends as ERROR with this description."""
    heavy: bool = False
    """Executing it fails, exporting it works."""

    @classmethod
    def people(cls, query_id: str, addresses: Iterable[object], *, executed: str | None = None) -> "Query":
        """One column of addresses; an empty or None one is a user without."""
        rows = [[address] for address in addresses]
        return cls(query_id, [EMAIL], rows) if executed is None else cls(query_id, [EMAIL], rows, executed)

    @classmethod
    def generated(cls, query_id: str, count: int) -> "Query":
        """`count` people, user000001@example.com and so on, never all in memory."""
        return cls(query_id, [EMAIL], lambda: ([f"user{n:06d}@example.com"] for n in range(1, count + 1)))

    def stream(self) -> Iterable[Sequence[object]]:
        """The rows, one after the other."""
        return self.rows() if callable(self.rows) else self.rows


@dataclass
class Credential:
    """An OAuth client. `elsewhere` makes it belong to another datacenter, noticed at the token or at each call."""

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
    """Who is on it before anything is imported: mailed only by mistake."""


@dataclass
class Directory:
    id: str
    name: str = "Default directory"


@dataclass
class Account:
    """Everything that exists. Change it at any time: the servers look afresh at each request."""

    nexthink_credentials: list[Credential] = field(default_factory=list)
    qualtrics_credentials: list[Credential] = field(default_factory=list)
    queries: dict[str, Query] = field(default_factory=dict)
    surveys: dict[str, Survey] = field(default_factory=dict)
    messages: dict[str, Message] = field(default_factory=dict)
    directories: dict[str, Directory] = field(default_factory=dict)
    mailing_lists: dict[str, MailingList] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)

    # What the default tenant is made of, written once.
    query_id: str = TEAMS_ROLLOUT.query_id
    survey_id: str = TEAMS_ROLLOUT.survey_id
    inactive_survey_id: str = "SV_oldSurvey00001"
    message_id: str = "MS_invitation0001"
    other_message_id: str = "MS_thankYou000001"
    library_id: str = "UR_library000001"
    directory_id: str = "POOL_employees00001"
    mailing_list_id: str = "CG_everybody0001"

    # Nexthink, where the facts leave something open.
    nexthink_token_seconds: int = 900
    heavy_status: int = 504
    """What the execution of a heavy query answers (?): a gateway that gave up waiting."""
    export_polls: int = 2
    """Status questions answered SUBMITTED, IN_PROGRESS, IN_PROGRESS … before COMPLETED."""
    export_completed_word: Literal["COMPLETED", "COMPLETE"] = "COMPLETED"
    download_seconds: int = 900
    download_content_encoding: bool = False
    """Whether the store declares a compressed file as `Content-Encoding` (?)."""
    csv_byte_order_mark: bool = False
    csv_line_end: Literal["\n", "\r\n"] = "\n"
    parameters_quoted: bool = True
    """Whether a filled-in parameter stands in quotes in `executedQuery` (?)."""
    instance_zone: str = "Europe/Zurich"

    # Qualtrics, likewise.
    qualtrics_token_seconds: int = 3600
    directories_page_size: int = 2
    """Elements a page, whatever the client asks for: docs contradict each other (Qualtrics §2)."""
    distributions_page_size: int = 100
    rows_page_size: int = 100
    """Of transactions and history."""
    next_page_origin: str | None = None
    """Another scheme, host and port for `nextPage`: no client may take its token there."""
    import_polls: int = 1
    """An import is in progress for so many questions, …"""
    import_seconds: float = 5
    """… or for so many seconds, whichever is over first."""
    import_seconds_per_thousand: float = 0
    """An import takes so much longer for each thousand contacts, however often it is asked for. The imports for one
    mailing list are done one after the other."""
    import_ends: Literal["complete", "failed"] = "complete"
    busy_list: Literal["refuse", "queue"] = "refuse"
    """What happens to a second import for a mailing list (one at a time, D/S): 429, or it waits."""
    delivery_seconds: float = 5
    """How long a distribution is Pending with zero stats."""
    suppression_hours: float = 12
    """The vendor's pages say the same hour and 12 hours, users say 24 (Qualtrics §5)."""
    list_lag_seconds: float = 0
    """A new distribution stands in the list only after that."""
    batch_echo: Literal["mailingListId", "byId", "never"] = "byId"
    """Where the batch id can be seen: also in the list and its filter, when read by id (D, one example), nowhere."""
    own_domains: set[str] = field(default_factory=set)
    """Further domains that the brand may send from."""
    refused_addresses: set[str] = field(default_factory=set)
    """Counted as failed by an import."""
    vanishing_addresses: set[str] = field(default_factory=set)
    """Lost by an import without being counted."""
    opted_out_addresses: set[str] = field(default_factory=set)
    bouncing_addresses: set[str] = field(default_factory=set)

    @classmethod
    def default(cls) -> "Account":
        """One tenant with everything that the sample manifests name, and what can be confused with it."""
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
        # The one that is meant stands on the second page.
        account.add_directory("POOL_customers00001", "Customers")
        account.add_directory("POOL_students000001", "Students")
        account.add_directory(account.directory_id, "Employees")
        bystanders = ["bystander1@example.com", "bystander2@example.com"]
        account.add_mailing_list(account.mailing_list_id, account.directory_id, bystanders=bystanders)
        return account

    def exporter_spec(self) -> dict[str, Any]:
        """The spec of an exporter that names what exists here; as JSON, for nobody here knows what an exporter is."""
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
        """Whether the list exists in that directory."""
        found = self.mailing_lists.get(list_id)
        return found is not None and found.directory_id == directory_id and directory_id in self.directories
