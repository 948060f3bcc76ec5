"""`spec.nexthink`: the people to survey."""

from itertools import islice
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from qualtrics_exporter.resource.model import SpecModel
from qualtrics_exporter.resource.rules import Rule
from qualtrics_exporter.resource.spec.secret import SecretRef
from qualtrics_exporter.resource.spec.text import NOT_BLANK

NEVER_COMPARED = (
    "with driftPolicy: Hold, every run is held, because an export does not say which query ran. Set driftPolicy: Warn, "
    "or resultSource: Auto"
)
"""The warning about `resultSource: Export` with `driftPolicy: Hold`."""

LONGEST_QUERY = 16000
"""Maximum length of a query in Nexthink (docs/facts/nexthink.md section 4, D)."""

MAX_PARAMETERS = 20


def _parameters(value: Any) -> Any:
    # The API server ignores entries without a value. One entry above the limit is enough to report that there are too
    # many: each entry could be a finding of its own.
    if not isinstance(value, dict):
        return value
    given = ((key, inner) for key, inner in value.items() if inner is not None)
    return dict(islice(given, MAX_PARAMETERS + 1))


class NexthinkSpec(SpecModel):
    """Whom to survey: the people that a Nexthink query returns."""

    credentials_secret_ref: SecretRef = Field(
        description="The Secret with the Nexthink API credentials, in the namespace of the exporter. Required keys: "
        "url (https://<instance>.api.<region>.nexthink.cloud) or instance and region, clientId, clientSecret. Optional "
        "keys: tokenUrl, scope."
    )
    query: Annotated[
        str,
        Field(max_length=32768),
        NOT_BLANK,
        Rule(
            f"self.size() <= {LONGEST_QUERY}",
            f"must have at most {LONGEST_QUERY} characters, the limit of Nexthink",
            lambda query: len(query) <= LONGEST_QUERY,
            json_schema={"maxLength": LONGEST_QUERY},
        ),
    ] = Field(
        description="The NQL text, as reviewed in Git. It must return one field, the e-mail addresses of the people to "
        "survey, so it usually ends with `| list ad.email_address`. `qualtrics-exporter validate` and the operator "
        "check it. Nexthink runs the saved query of queryId; the operator compares this text with the query that ran, "
        "see driftPolicy.",
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
        description='The id of the saved query in Nexthink, for example "#teams_rollout" (quote it in YAML, because of '
        "the #). An administrator saves the query in Nexthink under NQL API queries: the public API of Nexthink runs "
        "saved queries only.",
    )
    parameters: (
        Annotated[
            dict[str, Annotated[str, Field(max_length=1024)]],
            Field(max_length=MAX_PARAMETERS),
            Rule.pattern(
                "^[A-Za-z_][A-Za-z0-9_]{0,254}$",
                "must have names of letters, digits and _, at most 255 of them, without the $",
            ).for_each_key(),
            BeforeValidator(_parameters),
        ]
        | None
    ) = Field(
        None,
        description="Values for the $names in the query, by name without the $: {days: 7d} for $days. All values are "
        "text.",
    )
    drift_policy: Literal["Warn", "Hold"] | None = Field(
        None,
        description="What to do when Nexthink runs a query that differs from query: Warn (the default) sends the "
        "survey and sets QueryInSync to False, Hold sends nothing. Hold also sends nothing if it is unknown which "
        "query ran, see resultSource. White space, comments, letter case outside quotes and filled-in parameters are "
        "ignored in the comparison.",
    )
    result_source: Literal["Auto", "Export"] | None = Field(
        None,
        description="How to get the result of the query. Auto (the default): Nexthink executes the query immediately, "
        "which works for queries that take a few seconds. If this fails, or returns the maximum of 1,000 rows, the "
        "result comes from an export. After a failure, the following runs start with an export: until the spec "
        "changes, for 8 days if the failure lasts, and for at most a day otherwise. See status.heavyQuery. A query "
        "that is known to have drifted is executed in each run. Export: the result always comes from an export. An "
        "export does not say which query ran: QueryInSync is Unknown, and driftPolicy: Hold holds every such run.",
    )
    query_check: Literal["Enforce", "Warn"] | None = Field(
        None,
        description="What to do when the check of the text of query finds a definite error: Enforce (the default) "
        "starts no runs until the error is corrected, Warn only reports it in Ready. Use Warn if the check is wrong.",
    )
