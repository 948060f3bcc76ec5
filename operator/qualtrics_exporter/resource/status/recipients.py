"""Counts of recipients, and the groups of `spec.sample` that were surveyed. They contain no address."""

from typing import Annotated

from pydantic import Field

from qualtrics_exporter.resource.model import Model
from qualtrics_exporter.resource.status.values import Count, Number, RunId, Time


class RecipientCounts(Model):
    """How the rows of the query became recipients."""

    returned: Count | None = Field(None, description="Rows that Nexthink returned.")
    empty: Count | None = Field(None, description="Rows without an address.")
    invalid: Count | None = Field(None, description="Rows with a text that is not an e-mail address.")
    duplicate: Count | None = Field(None, description="Rows with an address that occurred before, in any letter case.")
    sampled_out: Count | None = Field(
        None, description="People left out by spec.sample. Absent without it. Together with accepted: the audience."
    )
    accepted: Count | None = Field(None, description="Valid, distinct addresses: the recipients.")
    imported: Count | None = Field(
        None, description="Recipients that Qualtrics imported. Fewer than accepted: ImportIncomplete."
    )

    @property
    def audience(self) -> int | None:
        """The number of people that the query returned, surveyed or not."""
        return None if self.accepted is None else self.accepted + (self.sampled_out or 0)


class SampledGroup(Model):
    """The group of spec.sample.groups that a run surveyed: without groups, the only one. It contains no address."""

    run_id: RunId = Field(description="The id of the run.")
    groups: Annotated[Number, Field(ge=1)] = Field(description="The number of groups.")
    group: Number = Field(description="The number of the group, from 1.")
    slot_time: Time = Field(
        description="When the slot of the group was due. For a requested run, the newest slot before it."
    )
    send_time: Time | None = Field(
        None, description="When the survey was sent, or may have been sent. Without it, slotTime counts."
    )
