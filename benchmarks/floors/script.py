"""Sends surveys without any guarantee: a plain loop with the same calls as a run of the operator.

The standard input has one JSON document per line, and each is one run. The program prints a document with the duration,
the CPU time and the number of people of each. It keeps its tokens and connections.
"""

import csv
import gzip
import io
import json
import os
import re
import ssl
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx

ADDRESS = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
CHUNK = 10_000
PEOPLE_OF_AN_EXECUTION = 1000
QUERY_PAUSE = 1.0
"""Nexthink accepts one query a second."""
FIRST_POLL, POLL = 0.005, 0.25


class Service:
    """One of both services, with its token."""

    def __init__(self, client: httpx.Client, keys: dict[str, str]) -> None:
        self._client = client
        self._url = keys["url"]
        self._keys = keys
        self._headers: dict[str, str] = {}

    def call(self, method: str, path: str, body: Any = None) -> Any:
        if not self._headers:
            token = self._client.post(
                self._keys["tokenUrl"],
                data={"grant_type": "client_credentials", "scope": self._keys["scope"]},
                auth=(self._keys["clientId"], self._keys["clientSecret"]),
            )
            self._headers = {"Authorization": f"Bearer {token.raise_for_status().json()['access_token']}"}
        return (
            self._client.request(method, self._url + path, json=body, headers=self._headers).raise_for_status().json()
        )


def poll(look: Any) -> Any:
    pause = FIRST_POLL
    while not (result := look()):
        time.sleep(pause)
        pause = min(pause * 2, POLL)
    return result


def rows(client: httpx.Client, nexthink: Service, query: str) -> Iterator[str]:
    """The cells of the result: of an execution if it is complete, otherwise of an export."""
    executed = nexthink.call("POST", "/api/v2/nql/execute", {"queryId": query})
    if executed["rows"] < PEOPLE_OF_AN_EXECUTION:
        for row in executed["data"]:
            yield next(iter(row.values())) or ""
        return
    time.sleep(QUERY_PAUSE)
    export = nexthink.call("POST", "/api/v1/nql/export", {"queryId": query, "compression": "GZIP"})["exportId"]

    def url() -> str | None:
        status = nexthink.call("GET", f"/api/v1/nql/status/{export}")
        found: str | None = status.get("resultsFileUrl")
        return found

    packed = client.get(poll(url)).raise_for_status().content
    time.sleep(QUERY_PAUSE)
    nexthink.call("POST", "/api/v2/nql/execute", {"queryId": query})  # compares the text of the query again
    lines = csv.reader(io.TextIOWrapper(gzip.GzipFile(fileobj=io.BytesIO(packed)), encoding="utf-8"))
    next(lines)
    for line in lines:
        yield line[0] if line else ""


def run(client: httpx.Client, nexthink: Service, qualtrics: Service, wanted: dict[str, str]) -> int:
    """Query, import and send. Returns the number of people."""
    people: dict[str, str] = {}
    for cell in rows(client, nexthink, wanted["queryId"]):
        address = cell.strip()
        if ADDRESS.fullmatch(address):
            people.setdefault(address.lower(), address)
    addresses = list(people.values())
    directory = f"/API/v3/directories/{wanted['directoryId']}"
    batch = qualtrics.call("POST", f"{directory}/transactionbatches", {"transactionIds": []})["result"]["id"]
    imports = f"{directory}/mailinglists/{wanted['mailingListId']}/transactioncontacts"
    meta = {"batchId": batch, "fields": ["runId"]}
    started = []
    for first in range(0, len(addresses), CHUNK):
        contacts = [{"email": a, "transactionData": {"runId": batch}} for a in addresses[first : first + CHUNK]]
        body = {"transactionMeta": meta, "contacts": contacts}
        started.append(qualtrics.call("POST", imports, body)["result"]["id"])
    for job in started:
        poll(lambda job=job: qualtrics.call("GET", f"{imports}/{job}")["result"]["status"] == "complete")
    header = {key: wanted[key] for key in ("fromEmail", "fromName", "subject")}
    distribution = {
        "message": {"libraryId": wanted["libraryId"], "messageId": wanted["messageId"]},
        "recipients": {"transactionBatchId": batch},
        "header": header,
        "surveyLink": {"surveyId": wanted["surveyId"], "type": "Individual"},
        "sendDate": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
    }
    qualtrics.call("POST", "/API/v3/distributions", distribution)
    return len(addresses)


def main() -> None:
    """Run once for each line of the standard input."""
    context = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
    with httpx.Client(verify=context, timeout=60) as client:
        services: dict[str, Service] = {}
        for line in sys.stdin:
            wanted = json.loads(line)
            nexthink, qualtrics = (
                services.setdefault(keys["url"], Service(client, keys))
                for keys in (wanted["nexthink"], wanted["qualtrics"])
            )
            began, used = time.monotonic(), time.process_time()
            people = run(client, nexthink, qualtrics, wanted["spec"])
            report = {"seconds": time.monotonic() - began, "cpu": time.process_time() - used, "people": people}
            print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
