"""Exporters and their statuses for benchmarks, and how thousands of them get into an API server quickly."""

import copy
import http.client
import json
import socket
import ssl
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.processes import HANG_SECONDS
from qualtrics_exporter.controller.plan.context import Context
from qualtrics_exporter.controller.plan.next_status import plan
from qualtrics_exporter.controller.status import conditions
from qualtrics_exporter.export.journal import QuerySync
from qualtrics_exporter.export.query import QueryResult
from qualtrics_exporter.export.recipients import Recipients
from qualtrics_exporter.export.verdict import Verdict
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.names import GROUP, PLURAL, VERSION
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.status import Delivery, HistoryEntry, RecipientCounts, Status
from qualtrics_exporter.sandbox import Account

Body = dict[str, Any]

DUE, NOT_DUE = "Tuesday", "Friday"
"""The days of exporters that are due at `shifted_clock.SLOT`, and of those that are not."""
CONNECTIONS = 4
IDLE_SECONDS = 30.0
"""The API server closes a connection that is idle for 90 seconds. This is less, with a margin."""


def manifest(name: str, day: str, **changes: Mapping[str, Any]) -> Body:
    """An exporter of the default account, due at midnight of a weekday. `changes` are merged into parts of the spec."""
    spec = Account.default().exporter_spec()
    spec["schedule"] = {"frequency": "Weekly", "dayOfWeek": day, "timeZone": "UTC"}
    for part, fields in changes.items():
        spec[part] = {**spec[part], **fields}
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "QualtricsExporter",
        "metadata": {"name": name},
        "spec": spec,
    }


def checked_status(body: Body, now: datetime, *, history: int) -> Body:
    """The status of an exporter that was just checked, ran `history` times, and waits for its next slot."""
    entry = HistoryEntry(
        id="a" * 20, trigger="Schedule", scheduled_time=now, start_time=now, completion_time=now - timedelta(days=30),
        result="Succeeded", reason=str(Reason.SUCCEEDED), message=Reason.SUCCEEDED.meaning + " " + "x" * 140,
        recipients=RecipientCounts(returned=900, empty=3, invalid=2, duplicate=1, accepted=894, imported=894),
        survey_id="SV_teamsRollout01", batch_id="BT_aaaaaaaaaaaaaaa", send_time=now - timedelta(days=30),
        distribution_id="EMD_aaaaaaaaaaaaaaa", delivery=Delivery(request_status="Done", sent=894, observed_time=now),
    )  # fmt: skip
    exporter = Exporter.from_object(body)
    status = plan(exporter, Context(now, "", "UTC")).status
    verdict = Verdict(answer=QueryResult(Recipients(), False, QuerySync(True, Reason.QUERY_IN_SYNC.meaning)))
    status = conditions.checked(status, verdict, exporter.generation, now, suspended=False)
    status = status.model_copy(
        update={"observed_generation": exporter.generation, "last_check_time": now, "history": [entry] * history}
    )
    return Status.model_dump(status, by_alias=True, exclude_none=True, mode="json")


class ApiConnection:
    """One connection to the API server, for plain requests."""

    def __init__(self, kubeconfig: Path) -> None:
        document = json.loads(kubeconfig.read_text())
        cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
        url = urlsplit(cluster["server"])
        context = ssl.create_default_context(cafile=cluster["certificate-authority"])
        self._connection = http.client.HTTPSConnection(url.hostname or "", url.port, context=context)
        self._used = time.monotonic()
        self._headers = {"Authorization": f"Bearer {user['token']}", "Content-Type": "application/json"}

    def call(self, method: str, path: str, body: Body | None = None, *, content_type: str = "application/json") -> Any:
        """Send a request, and return its answer. Raises RuntimeError if the API server refuses it."""
        headers = {**self._headers, "Content-Type": content_type}
        now = time.monotonic()
        if now - self._used > IDLE_SECONDS:
            self._connection.close()  # the request opens it again
        self._used = now
        self._connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        response = self._connection.getresponse()
        content = response.read()
        if response.status >= 300:
            raise RuntimeError(f"{method} {path}: {response.status} {content.decode(errors='replace')}")
        return json.loads(content)

    def watch(self, path: str) -> http.client.HTTPResponse:
        """The lines of a watch. The connection serves nothing else afterwards."""
        deadline = time.monotonic() + HANG_SECONDS
        while True:
            self._connection.request("GET", path, headers=self._headers)
            response = self._connection.getresponse()
            if response.status == 200:
                return response
            content = response.read().decode(errors="replace")  # 429 while the API server prepares a new CRD
            if response.status != 429 or time.monotonic() > deadline:
                raise RuntimeError(f"GET {path}: {response.status} {content}")
            time.sleep(0.2)

    def shut_down(self) -> None:
        """End a watch that another thread reads."""
        if self._connection.sock:
            self._connection.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._connection.close()


def path_of(namespace: str, name: str = "") -> str:
    """The path of the exporters of a namespace, or of one of them."""
    return f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{PLURAL}" + (f"/{name}" if name else "")


def create(kubeconfig: Path, namespace: str, bodies: Iterable[Body], now: datetime, *, history: int) -> int:
    """Create exporters that were just checked. Returns the size of one of them, in bytes.

    The statuses differ only in the observed generation and in times, so the status of the first is the status of all.
    """
    source = iter(bodies)
    size, status = 0, None
    for body in islice(source, 1):
        connection = ApiConnection(kubeconfig)
        made = connection.call("POST", path_of(namespace), body)
        status = checked_status(made, now, history=history)
        size = len(json.dumps(connection.call("PUT", f"{path_of(namespace, body['metadata']['name'])}/status",
                                              {**made, "status": status})))  # fmt: skip
        connection.close()
    rest = list(source)

    def create_some(part: list[Body]) -> None:
        connection = ApiConnection(kubeconfig)
        for body in part:
            made = connection.call("POST", path_of(namespace), body)
            made["status"] = status
            connection.call("PUT", f"{path_of(namespace, body['metadata']['name'])}/status", made)
        connection.close()

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        list(pool.map(create_some, (rest[n::CONNECTIONS] for n in range(CONNECTIONS))))
    return size


def reset(kubeconfig: Path, namespace: str, status: Body) -> None:
    """Replace the status of all exporters of a namespace."""
    connection = ApiConnection(kubeconfig)
    for item in connection.call("GET", path_of(namespace))["items"]:
        connection.call(
            "PUT", f"{path_of(namespace, item['metadata']['name'])}/status", {**item, "status": copy.deepcopy(status)}
        )
    connection.close()
