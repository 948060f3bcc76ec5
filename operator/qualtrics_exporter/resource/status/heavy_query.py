"""`status.heavyQuery`: a query that Nexthink answers with an export only."""

from pydantic import Field

from qualtrics_exporter.resource.model import Model
from qualtrics_exporter.resource.status.values import Count, Time


class HeavyQuery(Model):
    """A query that Nexthink fails to execute directly, but that works as an export."""

    generation: Count = Field(description="The generation of the spec with this query.")
    execute_time: Time = Field(
        description="When Nexthink failed to execute the query. Runs start with an export until 8 days later if "
        "lasting is true, and until a day later otherwise. Then a run tries again to execute the query."
    )
    lasting: bool | None = Field(
        None,
        description="True if the query takes too long (each try reached the time limit of Nexthink or of the "
        "operator), or if it failed again hours later. Otherwise the failure may be temporary, and each check of the "
        "operator tries again.",
    )
