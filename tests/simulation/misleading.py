"""Misleading replies of Nexthink and Qualtrics: valid replies with the content of others, and endless replies.

The effect of a request is the usual one, and only the reply is different. The people in a reply count as those that the
query returned, because the operator cannot know better. The invariants learn them from the reply.
"""

import csv
import gzip
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from qualtrics_exporter.remote.transport import Request
from qualtrics_exporter.sandbox.middleware import Reply

Serve = Callable[[Request], Reply]
"""Serves a request, with its effect."""

ENDLESS_PAGE_SECONDS = (4.0, 15.0, 40.0)
"""How long a page of an endless list takes. Faster pages would use most of the CPU."""
MANY = 40
"""How often the rows of a reply are repeated at most. In reality, it could be millions of times."""


@dataclass
class MisleadingReply(Reply):
    """A reply that does not fit the request."""

    people: frozenset[str] | None = None
    """The addresses that it returns as people of a query, in lower case."""
    text: str | None = None
    """The NQL that it reports as executed, or None."""
    hidden: list[str] = field(default_factory=list)
    """Distributions that exist, and that the list lacks."""


class MisleadingHosts:
    """Chooses the replies of misleading hosts, with a separate source of random numbers."""

    def __init__(self, random: Random, queries: Callable[[str], list[str]]) -> None:
        self._random = random
        self._queries = queries
        """The saved queries of the tenant with this host."""
        self._ids: dict[str, list[str]] = {}
        """Ids in the replies of each operation, for use in other replies."""

    def delay(self, manner: str, request: Request) -> float:
        """How much later the reply comes, in seconds."""
        listing = request.method == "GET" and request.operation not in ("status", "import_status", "read_distribution")
        return self._random.choice(ENDLESS_PAGE_SECONDS) if manner == "endless" and listing else 0.0

    def reply(self, manner: str, request: Request, serve: Serve) -> Reply:
        """Serve the request, and return a misleading reply."""
        if request.operation == "token":
            return serve(request)
        if manner == "endless":
            path, _, query = request.url.rest.partition("?")
            rest = f"{path}?{query.partition('&skip=')[0]}" if query else path  # the sandbox knows no such page
            return self._endless(request, serve(replace(request, url=replace(request.url, rest=rest))))
        if self._random.random() < 0.4:
            return serve(request)
        if request.operation in ("execute", "export", "download"):
            return self._nexthink(request, serve)
        return self._qualtrics(request, serve(request))

    # Endless replies.

    def _endless(self, request: Request, reply: Reply) -> Reply:
        document = _document(reply)
        if document is None or reply.status >= 300:
            return reply
        result = document.get("result")
        if request.operation == "status":
            return _json({"status": self._random.choice(("SUBMITTED", "IN_PROGRESS"))}, reply)
        if request.operation == "import_status" and isinstance(result, dict):
            return _json({"result": {**result, "status": "inProgress", "percentComplete": 99}}, reply)
        if isinstance(result, dict) and "elements" in result:
            url = request.url
            path, _, query = url.rest.partition("?")
            more = "" if self._random.random() < 0.3 else f"&skip={self._random.randrange(1 << 30)}"  # else: itself
            result = {**result, "nextPage": f"https://{url.host}{path}?{query.partition('&skip=')[0]}{more}"}
            return _json({"result": result}, reply)
        return reply

    # Content of other requests.

    def _nexthink(self, request: Request, serve: Serve) -> Reply:
        forwarded = request
        if request.operation != "download" and self._random.random() < 0.5:
            body = json.loads(request.body or b"{}")
            body["queryId"] = self._random.choice(self._queries(request.url.host))
            forwarded = replace(request, body=json.dumps(body).encode())
        reply = serve(forwarded)
        if reply.status >= 300:
            return reply
        if request.operation == "export":
            return MisleadingReply(reply.status, reply.body, reply.headers)
        if request.operation == "download":
            return self._file(reply)
        document = _document(reply) or {}
        rows = self._rows([next(iter(row.values())) for row in document.get("data", [])])
        names = self._random.choice((["ad.email_address"], ["email"], ["owner.email", "ad.email_address"]))
        document["data"] = [dict.fromkeys(names, row) for row in rows]
        document["rows"] = self._random.choice((len(rows), len(rows), 1 << 40, -1, "many"))
        if self._random.random() < 0.3:
            document["executedQuery"] = self._random.choice((None, 7, "users | list ad.username", ""))
        text = document.get("executedQuery")
        made = _json(document, reply)
        made.people, made.text = _addresses(rows), text if isinstance(text, str) else None
        return made

    def _file(self, reply: Reply) -> Reply:
        assert isinstance(reply.body, bytes)
        lines = list(csv.reader(io.StringIO(gzip.decompress(reply.body).decode())))
        rows = self._rows([line[0] for line in lines[1:] if line])
        made = io.StringIO()
        writer = csv.writer(made, lineterminator="\n")
        writer.writerow(self._random.choice((["ad.email_address"], ["email"])))
        writer.writerows([row] for row in rows)
        body = gzip.compress(made.getvalue().encode(), 1, mtime=0)
        return MisleadingReply(reply.status, body, reply.headers, people=_addresses(rows))

    def _rows(self, rows: list[str]) -> list[str]:
        """Replace rows by others."""
        what = self._random.randrange(5)
        if what == 0:
            return [row.upper() if turn % 2 else row for turn in range(MANY) for row in rows]
        if what == 1:
            return [f"stranger{n}@example.net" for n in range(self._random.choice((1, 5, 30)))]
        if what == 2:
            return ["", "nobody", "@", "a@b", *rows]
        return rows

    def _qualtrics(self, request: Request, reply: Reply) -> Reply:
        document = _document(reply)
        result = document.get("result") if document else None
        if reply.status >= 300 or not isinstance(result, dict):
            return reply
        if "elements" in result:
            return self._list(request, result, reply)
        seen = self._ids.setdefault(request.operation, [])
        mine = result.get("id")
        # The id of a batch decides who is mailed. If Qualtrics gave the same id to two batches, it could mail anyone.
        other = f"{mine[:3]}{self._random.randrange(10**9):015d}" if isinstance(mine, str) else None
        if isinstance(mine, str) and request.method == "POST":
            seen.append(mine)
            if request.operation != "create_batch" and len(seen) > 1:
                other = self._random.choice((other, seen[self._random.randrange(len(seen) - 1)]))
            return _json({"result": {**result, "id": other}}, reply)
        if request.operation == "read_distribution" and self._random.random() < 0.5:
            # A look-up compares the batch, so the batch stays as it is, and only the other fields change.
            return _json({"result": {**result, "id": other, "requestStatus": "Elsewhere", "stats": {"sent": 7}}}, reply)
        return reply

    def _list(self, request: Request, result: dict[str, Any], reply: Reply) -> Reply:
        elements = [element for element in result["elements"] if isinstance(element, dict)]
        what = self._random.randrange(4)
        if what == 0 and request.operation == "list_distributions":  # distributions of another survey and another batch
            hidden = [element["id"] for element in elements]
            shown = [{"id": f"EMD_{n:015d}", "recipients": {"mailingListId": f"BT_{n:015d}"}} for n in range(3)]
            made = _json({"result": {"elements": shown, "nextPage": None}}, reply)
            made.hidden = hidden
            return made
        if what == 1:
            elements = elements * 3
        elif what == 2:
            elements = [{**element, "id": f"XX_{n:015d}", "name": "another"} for n, element in enumerate(elements)]
        if self._random.random() < 0.5:
            result["nextPage"] = self._random.choice(("https://elsewhere.example.com/list?skipToken=1", "/list", "", 7))
        return _json({"result": {**result, "elements": elements}}, reply)


def _document(reply: Reply) -> dict[str, Any] | None:
    assert isinstance(reply.body, bytes)
    try:
        document = json.loads(reply.body)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _json(document: Any, reply: Reply) -> MisleadingReply:
    return MisleadingReply(reply.status, json.dumps(document).encode(), reply.headers)


def _addresses(rows: list[str]) -> frozenset[str]:
    return frozenset(row.strip().lower() for row in rows)
