"""The journal in an exporter's status, where the API server takes no writes."""

from datetime import timedelta
from typing import Any, cast

import pytest

from qualtrics_exporter.controller.cluster import Cluster, ClusterError, Forbidden
from qualtrics_exporter.controller.runs import Credentials, Runner
from qualtrics_exporter.controller.status import Key, StatusJournal, StatusStore
from qualtrics_exporter.export.journal import Abandoned
from qualtrics_exporter.http.errors import Permanent
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.status import ActiveRun, Status
from tests.controller.exporters import ZONE, at
from tests.environment.clock import SteeredClock

NOW = at("2026-11-24 12:00")
RUN = ActiveRun(id="run1", trigger="Request", start_time=NOW, holder="me", step="Sending", batch_id="BT_1")
REFUSED = RUN.model_copy(update={"refused_until": NOW + timedelta(minutes=1), "refused_reason": "RemoteUnavailable"})
DOUBTED = REFUSED.model_copy(update={"refused_reason": "RateLimited"})
SENT = RUN.model_copy(update={"step": "Sent", "distribution_id": "EMD_1"})


class Deaf:
    """A cluster that shows everything and takes nothing."""

    async def get(self, namespace: str, name: str) -> dict[str, Any]:
        status = Status(active_run=RUN).model_dump(by_alias=True, exclude_none=True, mode="json")
        return {"metadata": {"namespace": namespace, "name": name, "uid": "uid"}, "spec": {}, "status": status}

    async def replace_status(self, *_: object) -> None:
        raise Forbidden("it may not")


@pytest.mark.parametrize(
    ("run", "error"),
    [
        # What is known of a send stays known to this process.
        (REFUSED, ClusterError),
        (SENT, ClusterError),
        # Nothing may happen that is not written down.
        (RUN.model_copy(update={"attempt": 2}), Abandoned),
    ],
)
async def test_a_run_is_left_when_a_step_cannot_be_written_but_not_when_it_is_known_what_became_of_its_send(
    run: ActiveRun, error: type[Exception]
) -> None:
    clock = SteeredClock(start=NOW)
    journal = StatusJournal(StatusStore(cast("Cluster", Deaf()), clock), Key("dex", "teams", "uid"), clock, ZONE)
    with pytest.raises(error):
        await journal.write(run)


@pytest.mark.parametrize(
    ("run", "result"), [(RUN, "Unknown"), (REFUSED, "Failed"), (DOUBTED, "Unknown"), (SENT, "Succeeded")]
)
def test_a_run_that_cannot_talk_to_anybody_ends_by_what_its_journal_knows(run: ActiveRun, result: str) -> None:
    clock = SteeredClock(start=NOW)
    runner = Runner(cast("StatusStore", None), cast("Credentials", None), clock, "me", ZONE)
    entry = runner._without_clients(run, Permanent(Reason.SECRET_NOT_FOUND, "Secret dex/qualtrics is gone")).entry
    assert entry.result == result
    assert ("Nobody was mailed." in entry.message) is (result == "Failed")
