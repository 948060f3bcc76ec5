"""The entries of `status.conditions` and `status.warnings`."""

from typing import Literal

from pydantic import Field

from qualtrics_exporter.resource.model import Model
from qualtrics_exporter.resource.status.values import Count, Message, ReasonName, Time


class Condition(Model):
    """One aspect of the exporter that is true or not, in the standard form of Kubernetes."""

    type: str = Field(
        max_length=316,
        description="The type of the condition: Ready, NexthinkReady, QualtricsReady, QueryInSync, LastRunSucceeded, "
        "Reconciling or Stalled.",
    )
    status: Literal["True", "False", "Unknown"] = Field(
        description="Whether the condition applies: True, False or Unknown."
    )
    observed_generation: Count | None = Field(
        None, description="The generation of the spec (metadata.generation) for which the condition was set."
    )
    last_transition_time: Time = Field(description="When status last changed. A new reason alone does not change it.")
    reason: ReasonName = Field(
        description="The machine-readable reason, for example SecretNotFound. docs/reasons.md explains each."
    )
    message: Message = Field(description="The explanation for people, with the next step.")


class StatusWarning(Model):
    """Something that the user should know although it is not an error."""

    reason: ReasonName = Field(
        description="The machine-readable reason, for example QueryLimited. docs/reasons.md explains each."
    )
    message: Message = Field(description="The explanation for people.")
