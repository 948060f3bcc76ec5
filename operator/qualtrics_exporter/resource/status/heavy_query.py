"""`status.heavyQuery`: a query that Nexthink answers with an export only."""

from pydantic import Field

from qualtrics_exporter.resource.model import Model
from qualtrics_exporter.resource.status.values import Count, Time


class HeavyQuery(Model):
    """A query that Nexthink fails to execute, and that an export answers."""

    generation: Count = Field(description="The generation of the spec that has this query.")
    execute_time: Time = Field(
        description="When Nexthink failed to execute the query. Runs use an export at once until 8 days later if "
        "lasting is true, and until a day later otherwise. Then it is tried again whether Nexthink executes the query."
    )
    lasting: bool | None = Field(
        None,
        description="True if the query takes too long (each try reached the time limit of Nexthink or of the "
        "operator), or if it failed again hours later. Otherwise the failure can pass, and each check of the operator "
        "tries again.",
    )
