"""One item of `status.followedDeliveries`: a distribution that left the history."""

from pydantic import Field

from qualtrics_exporter.resource.model import Model
from qualtrics_exporter.resource.status.values import RunId, Time

FOLLOWED_DELIVERIES = 170
"""An hourly schedule has 168 runs in a week."""


class FollowedDelivery(Model):
    """A distribution whose history entry is gone, and whose delivery figures are still read."""

    run_id: RunId = Field(description="The id of the run.")
    survey_id: str = Field(max_length=128, description="The survey: SV_….")
    distribution_id: str = Field(max_length=128, description="The Qualtrics distribution: EMD_….")
    send_time: Time = Field(description="When the distribution was requested.")
    observed_time: Time | None = Field(None, description="When its figures were last read.")
