"""`spec.nexthink`: the people to survey."""

from itertools import islice
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from qualtrics_exporter.resource.model import SpecModel
from qualtrics_exporter.resource.rules import Rule
from qualtrics_exporter.resource.spec.secret import SecretRef
from qualtrics_exporter.resource.spec.text import NOT_BLANK

NEVER_COMPARED = (
    "with driftPolicy: Hold, every run is held, because an export does not say which query ran. "
    "Set driftPolicy: Warn, or resultSource: Auto"
)
"""What is said of `resultSource: Export` with `driftPolicy: Hold`."""

LONGEST_QUERY = 16000
"""Characters of a query that Nexthink takes (docs/facts/nexthink.md section 4, D)."""

MOST_PARAMETERS = 20


def _parameters(value: Any) -> Any:
    # As the API server, which takes an entry without a value for none. One too many shows that there are too many, and
    # each could be a finding of its own.
    if not isinstance(value, dict):
        return value
    given = ((key, inner) for key, inner in value.items() if inner is not None)
    return dict(islice(given, MOST_PARAMETERS + 1))


class NexthinkSpec(SpecModel):
    """Whom to ask: the people that a Nexthink query returns."""

    credentials_secret_ref: SecretRef = Field(
        description="The Secret with the Nexthink API credentials, in the namespace of the exporter. Its keys: url "
        "(https://<instance>.api.<region>.nexthink.cloud) or instance and region, clientId, clientSecret; optional: "
        "tokenUrl, scope."
    )
    query: Annotated[
        str,
        Field(max_length=32768),
        NOT_BLANK,
        Rule(
            f"self.size() <= {LONGEST_QUERY}",
            f"must have at most {LONGEST_QUERY} characters, as Nexthink has it",
            lambda query: len(query) <= LONGEST_QUERY,
            json_schema={"maxLength": LONGEST_QUERY},
        ),
    ] = Field(
        description="The NQL, as reviewed in Git: it returns one field, the e-mail addresses of the people to ask, so "
        "it usually ends with `| list ad.email_address`. It is checked by `qualtrics-exporter validate` and when the "
        "operator sees it. Nexthink runs the saved query of queryId; this text is compared with what "
        "really ran, see driftPolicy.",
    )
    query_id: Annotated[
        str,
        Field(max_length=512),
        Rule.pattern(
            "^#[a-z0-9_]{2,255}$",
            "must be # and 2 to 255 of a-z, 0-9 and _, as shown in the Nexthink web console; "
            'quote it in YAML because of the #: "#teams_rollout"',
        ),
    ] = Field(
        description='The id under which Nexthink keeps the query, for example "#teams_rollout" (quoted in YAML, '
        "because of the #). An administrator saves it in Nexthink under NQL API queries: the public API of Nexthink "
        "runs saved queries only.",
    )
    parameters: (
        Annotated[
            dict[str, Annotated[str, Field(max_length=1024)]],
            Field(max_length=MOST_PARAMETERS),
            Rule.pattern(
                "^[A-Za-z_][A-Za-z0-9_]{0,254}$",
                "must be named by letters, digits and _, at most 255 of them, without the $",
            ).for_each_key(),
            BeforeValidator(_parameters),
        ]
        | None
    ) = Field(
        None,
        description="Values for the $names of the query, by name without the $: {days: 7d} for a $days. All values are "
        "text.",
    )
    drift_policy: Literal["Warn", "Hold"] | None = Field(
        None,
        description="What to do when Nexthink runs something else than query: Warn (the default) sends and sets "
        "QueryInSync to False, Hold mails nobody. Hold also mails nobody if it is unknown what ran, see resultSource. "
        "White space, comments, letter case outside quotes and filled-in "
        "parameters make no difference.",
    )
    result_source: Literal["Auto", "Export"] | None = Field(
        None,
        description="Where the result of the query comes from. Auto (the default): Nexthink executes the query at "
        "once, which works for queries that take a few seconds; if Nexthink fails to do so, or returns its maximum of "
        "1,000 rows, the result comes from an export. If Nexthink failed to execute the query, the following runs "
        "use an export at once: until the spec changes, for 8 days if the failure lasts, and for a day at most "
        "otherwise. See status.heavyQuery. A query that is known to have drifted is executed in each run. Export: the "
        "result always comes from an export. An export does not say which query ran: QueryInSync is Unknown, and "
        "driftPolicy: Hold holds every such run.",
    )
    query_check: Literal["Enforce", "Warn"] | None = Field(
        None,
        description="What the check of the text of query does when it is certain of an error: Enforce (the default) "
        "runs nothing until it is corrected, Warn only tells it in Ready, should the check ever be wrong.",
    )
