"""HTTP clients of both APIs for the tests of the sandbox, independent of the clients of the operator."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx

from qualtrics_exporter.sandbox import Account, Sandbox

JSON = dict[str, Any]


@dataclass
class Caller:
    """A client of one API, with an access token after `log_in`."""

    sandbox: Sandbox
    http: httpx.AsyncClient
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def account(self) -> Account:
        return self.sandbox.account

    async def token(self, service: str, **changes: str) -> httpx.Response:
        """Request a token with the keys of the Secret, or with changed ones."""
        secret = {**self.sandbox.secrets()[service], **changes}
        return await self.http.post(
            secret["tokenUrl"],
            auth=(secret["clientId"], secret["clientSecret"]),
            data={"grant_type": "client_credentials", "scope": secret["scope"]},
        )

    async def log_in(self, service: str) -> None:
        reply = await self.token(service)
        assert reply.status_code == 200, reply.text
        self.headers = {"Authorization": f"Bearer {reply.json()['access_token']}"}


class NexthinkCaller(Caller):
    """A client of the NQL API."""

    async def get(self, path: str, **arguments: Any) -> httpx.Response:
        headers = {**self.headers, **arguments.pop("headers", {})}
        return await self.http.get(self.sandbox.nexthink_url + path, headers=headers, **arguments)

    async def post(self, path: str, json: object, headers: dict[str, str] | None = None) -> httpx.Response:
        headers = {**self.headers, **(headers or {})}
        return await self.http.post(self.sandbox.nexthink_url + path, json=json, headers=headers)

    async def execute(self, query_id: str | None = None, version: int = 2, **more: Any) -> httpx.Response:
        headers = more.pop("headers", {})
        body = {"queryId": query_id or self.account.query_id, **more}
        return await self.post(f"/api/v{version}/nql/execute", body, headers)

    async def export(self, query_id: str | None = None, **more: Any) -> httpx.Response:
        return await self.post("/api/v1/nql/export", {"queryId": query_id or self.account.query_id, **more})

    async def status(self, export_id: str) -> httpx.Response:
        return await self.get(f"/api/v1/nql/status/{export_id}")

    async def download_url(self, query_id: str | None = None, **more: Any) -> str:
        """Export a query, and return the URL of the file."""
        export_id = (await self.export(query_id, **more)).json()["exportId"]
        while "resultsFileUrl" not in (answer := (await self.status(export_id)).json()):
            assert answer["status"] in {"SUBMITTED", "IN_PROGRESS"}
        return str(answer["resultsFileUrl"])


class QualtricsCaller(Caller):
    """A client of the API of Qualtrics."""

    def url(self, path: str) -> str:
        return f"{self.sandbox.qualtrics_url}/API/v3{path}"

    async def get(self, path: str, **params: Any) -> httpx.Response:
        return await self.http.get(self.url(path), params=params or None, headers=self.headers)

    async def post(self, path: str, json: object) -> httpx.Response:
        return await self.http.post(self.url(path), json=json, headers=self.headers)

    @property
    def batches_path(self) -> str:
        return f"/directories/{self.account.directory_id}/transactionbatches"

    @property
    def imports_path(self) -> str:
        return (
            f"/directories/{self.account.directory_id}/mailinglists/{self.account.mailing_list_id}/transactioncontacts"
        )

    async def create_batch(self) -> str:
        reply = await self.post(self.batches_path, {"transactionIds": []})
        assert reply.status_code == 200, reply.text
        return str(reply.json()["result"]["id"])

    def import_body(self, batch_id: str, addresses: Iterable[str]) -> JSON:
        """A valid body of an import."""
        contacts = [{"email": address, "transactionData": {"runId": "run-1"}} for address in addresses]
        return {"transactionMeta": {"batchId": batch_id, "fields": ["runId"]}, "contacts": contacts}

    async def import_people(self, batch_id: str, addresses: Iterable[str]) -> JSON:
        """Import people, and return the last status of the import."""
        reply = await self.post(self.imports_path, self.import_body(batch_id, addresses))
        assert reply.status_code == 202, reply.text
        return await self.import_result(reply.json()["result"]["id"])

    async def import_result(self, import_id: str) -> JSON:
        """Request the status of an import until it has ended."""
        while True:
            answer: JSON = (await self.get(f"{self.imports_path}/{import_id}")).json()["result"]
            if answer["status"] != "inProgress":
                return answer

    async def batch_with(self, *addresses: str) -> str:
        batch_id = await self.create_batch()
        await self.import_people(batch_id, addresses)
        return batch_id

    def distribution_body(self, batch_id: str, **changes: Any) -> JSON:
        """A valid body of a distribution with the current time as its send date."""
        account = self.account
        return {
            "message": {"libraryId": account.library_id, "messageId": account.message_id},
            "recipients": {"transactionBatchId": batch_id},
            "header": {"fromName": "Workplace", "fromEmail": "noreply@qemailserver.com", "subject": "How is Teams?"},
            "surveyLink": {"surveyId": account.survey_id, "type": "Individual"},
            "sendDate": format_time(self.sandbox.clock.now()),
            **changes,
        }

    async def send(self, batch_id: str, **changes: Any) -> str:
        reply = await self.post("/distributions", self.distribution_body(batch_id, **changes))
        assert reply.status_code == 200, reply.text
        return str(reply.json()["result"]["id"])

    async def read_distribution(self, distribution_id: str) -> JSON:
        reply = await self.get(f"/distributions/{distribution_id}", surveyId=self.account.survey_id)
        assert reply.status_code == 200, reply.text
        answer: JSON = reply.json()["result"]
        return answer

    async def list_distributions(self, **filters: Any) -> list[JSON]:
        """The distributions on all pages of the list."""
        reply = await self.get("/distributions", surveyId=self.account.survey_id, **filters)
        assert reply.status_code == 200, reply.text
        result = reply.json()["result"]
        elements: list[JSON] = result["elements"]
        while result["nextPage"]:
            result = (await self.http.get(result["nextPage"], headers=self.headers)).json()["result"]
            elements += result["elements"]
        return elements


def format_time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def error_code(reply: httpx.Response) -> str | None:
    """The error code in the envelope of Qualtrics."""
    code: str | None = reply.json()["meta"]["error"].get("errorCode")
    return code
