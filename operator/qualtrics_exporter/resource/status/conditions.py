"""The entries of `status.conditions` and `status.warnings`."""

from typing import Literal

from pydantic import Field

from qualtrics_exporter.resource.model import Model
from qualtrics_exporter.resource.status.values import Count, Message, ReasonName, Time


class Condition(Model):
    """One thing that is so or is not, in the shape that all of Kubernetes uses."""

    type: str = Field(
        max_length=316,
        description="What the condition is about: Ready, NexthinkReady, QualtricsReady, QueryInSync, LastRunSucceeded, "
        "Reconciling or Stalled.",
    )
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it is so: True, False or Unknown.")
    observed_generation: Count | None = Field(
        None, description="The generation of the spec that it was set for: metadata.generation then."
    )
    last_transition_time: Time = Field(description="When status last changed; a new reason alone does not move it.")
    reason: ReasonName = Field(
        description="Why, as one word for programs, for example SecretNotFound; docs/reasons.md explains each."
    )
    message: Message = Field(description="Why, for people, with what to do next.")


class StatusWarning(Model):
    """Something that the user should know although it is not an error."""

    reason: ReasonName = Field(
        description="Why, as one word for programs, for example QueryLimited; docs/reasons.md explains each."
    )
    message: Message = Field(description="Why, for people.")
