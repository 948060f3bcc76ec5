"""How many people a run addressed, and which group of `spec.sample` they belong to. No address is stored."""

from typing import Annotated

from pydantic import Field

from qualtrics_exporter.resource.model import Model
from qualtrics_exporter.resource.status.values import Count, Number, RunId, Time


class RecipientCounts(Model):
    """How many rows of the query became how many recipients."""

    returned: Count | None = Field(None, description="Rows that Nexthink returned.")
    empty: Count | None = Field(None, description="Rows without an address.")
    invalid: Count | None = Field(None, description="Rows whose text is no e-mail address.")
    duplicate: Count | None = Field(None, description="Rows whose address had come before, in any letter case.")
    sampled_out: Count | None = Field(
        None, description="People whom spec.sample left out; absent without it. With accepted: the audience."
    )
    accepted: Count | None = Field(None, description="Addresses that passed: the recipients.")
    imported: Count | None = Field(
        None, description="How many of them Qualtrics took into the batch; fewer than accepted is ImportIncomplete."
    )

    @property
    def audience(self) -> int | None:
        """How many people the query named, surveyed or not."""
        return None if self.accepted is None else self.accepted + (self.sampled_out or 0)


class SampledGroup(Model):
    """The group of spec.sample.groups that a run surveyed: without groups, the only one. It holds no address."""

    run_id: RunId = Field(description="Id of the run.")
    groups: Annotated[Number, Field(ge=1)] = Field(description="How many groups there were.")
    group: Number = Field(description="Which of them it was, from 1 on.")
    slot_time: Time = Field(
        description="When the slot of the group fell due. For a requested run, the newest slot before it."
    )
    send_time: Time | None = Field(
        None, description="When the survey was sent, or may have been. Without it, slotTime counts."
    )
