"""The pages of the form: what they show without a script, what they refuse, and what can be downloaded."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html import unescape
from html.parser import HTMLParser
from io import BytesIO
from typing import Any

import pytest
from aiohttp import ClientSession, CookieJar, FormData

from hack import plain_yaml
from qualtrics_exporter.cli.console import form_views
from qualtrics_exporter.cli.console.form import Form
from qualtrics_exporter.cli.console.form_check import Checked, check
from qualtrics_exporter.cli.console.form_open import MAX_CHARACTERS
from qualtrics_exporter.cli.console.server import serve
from qualtrics_exporter.cli.written_yaml import to_yaml
from qualtrics_exporter.clock import SystemClock
from qualtrics_exporter.resource.names import RUN_REQUESTED_AT
from tests.cli.conftest import SAMPLE
from tests.console.form_server import OneExporter
from tests.console.forms import NEW
from tests.resource.manifests import changed, sample
from tests.support.waiting import HANG_SECONDS

MARKUP = "<script>alert(1)</script>\"'&"


class Page(HTMLParser):
    """The elements of a page by id, the text of each notice, and what a browser would send for its form."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.elements: dict[str, dict[str, str]] = {}
        self.sent: list[tuple[str, str]] = []
        self.scripts: list[str] = []
        self._select = self._textarea = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.elements[found.get("id", "")] = found
        if tag == "script":
            self.scripts.append(found.get("src", "inline"))
        if tag == "input" and found.get("type") != "file" and (found.get("type") != "checkbox" or "checked" in found):
            self.sent.append((found["name"], found.get("value", "")))
        if tag == "select":
            self._select = found["name"]
        if tag == "option" and "selected" in found:
            self.sent.append((self._select, "selected"))
        if tag == "textarea":
            start = self.html.index(">", self.html.index(f'name="{found["name"]}"')) + 1
            text = unescape(self.html[start : self.html.index("</textarea>", start)])
            self.sent.append((found["name"], text.removeprefix("\n")))

    @property
    def invalid(self) -> set[str]:
        """The ids of the fields that are marked as invalid."""
        return {name for name, attributes in self.elements.items() if attributes.get("aria-invalid") == "true"}

    @property
    def manifest(self) -> str:
        """The manifest that the page shows."""
        start = self.html.index(">", self.html.index('<pre id="manifest"')) + 1
        return unescape(self.html[start : self.html.index("</pre>", start)])


@asynccontextmanager
async def browsing(source: OneExporter) -> AsyncIterator[ClientSession]:
    """A client that has opened the console of this source."""
    async with serve(source, SystemClock()) as session:
        headers = {"Origin": f"http://{session.host}"}
        url = f"http://{session.host}{session.base}"
        async with ClientSession(url, cookie_jar=CookieJar(unsafe=True), headers=headers) as client:
            async with client.get(session.new_address()) as response:
                assert response.status == 200
            yield client


@pytest.fixture
async def client() -> AsyncIterator[ClientSession]:
    status = {"history": [{"message": "earlier"}]}
    body = changed({}, uid="1", annotations={RUN_REQUESTED_AT: "x", "note": "kept"}) | {"status": status}
    async with browsing(OneExporter(body)) as client:
        yield client


async def opened(client: ClientSession, text: str, status: int = 200) -> Page:
    """The page after this text was pasted."""
    async with client.post("new/open", data={"text": text}) as response:
        assert response.status == status
        return Page(await response.text())


async def checked(client: ClientSession, data: Any, status: int = 200, path: str = "new/check") -> Page:
    """The page after the form was sent."""
    async with client.post(path, data=data) as response:
        assert response.status == status
        return Page(await response.text())


async def test_the_form_works_without_a_script(client: ClientSession) -> None:
    async with client.get("new") as response:
        page = Page(await response.text())
    assert page.invalid == set()
    assert "No mistakes so far" in page.html
    query = f"users\n| with execution.events during past 7d\n| where name == {MARKUP}"
    page = await checked(client, {**NEW, "spec.nexthink.query": query, "spec.qualtrics.surveyId": "teams"})
    assert page.invalid == {"spec.nexthink.query", "spec.qualtrics.surveyId"}
    assert "line 3, column" in page.html
    assert "mark class=" in page.html
    page = await checked(client, NEW)
    assert page.invalid == set()
    assert "kubectl apply -n NAMESPACE -f teams-rollout.yaml" in page.html
    assert plain_yaml.read(page.manifest)["spec"]["qualtrics"]["surveyId"] == "SV_teamsRollout01"


async def test_the_manifest_can_be_downloaded_only_without_mistakes(client: ClientSession) -> None:
    async with client.post("new/download", data=NEW) as response:
        assert response.headers["Content-Disposition"] == 'attachment; filename="teams-rollout.yaml"'
        assert plain_yaml.read(await response.text())["metadata"] == {"name": "teams-rollout"}
    page = await checked(client, {**NEW, "metadata.name": f"x{MARKUP}"}, path="new/download")
    assert page.invalid == {"metadata.name"}


async def address_after(client: ClientSession, path: str, data: dict[str, str]) -> str:
    """Where the browser is sent after a POST."""
    async with client.post(path, data=data, allow_redirects=False) as response:
        assert response.status == 303
        return response.headers["Location"]


TWO = f"{SAMPLE.read_text()}---\n{to_yaml(changed({}, name='b'))}"


@pytest.mark.parametrize(
    ("path", "data", "shown"),
    [
        ("new/open", {"text": SAMPLE.read_text()}, "Edit dex/teams-rollout"),
        ("new/open", {"text": TWO}, "This text has 2 exporters"),
        ("new/open", {"text": "something else"}, "something else</textarea>"),
        ("new/check", NEW, "How is Teams working for you?"),
        ("new/download", {**NEW, "spec.qualtrics.surveyId": "teams"}, "The manifest cannot be used yet"),
    ],
)
async def test_the_page_after_a_form_can_be_shown_again(
    client: ClientSession, path: str, data: dict[str, str], shown: str
) -> None:
    address = await address_after(client, path, data)
    for _ in range(2):
        async with client.get(address) as response:
            assert shown in unescape(await response.text())


async def test_only_the_latest_pages_are_kept(client: ClientSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(form_views, "MOST_KEPT", 2)
    addresses = [await address_after(client, "new/check", {**NEW, "metadata.name": name}) for name in "abc"]
    answers = []
    for address in addresses:
        async with client.get(address) as response:
            answers.append((response.status, "Open the manifest again." in await response.text()))
    assert answers == [(404, True), (200, False), (200, False)]


async def test_the_summary_counts_what_the_list_shows(client: ClientSession) -> None:
    few, much = "users | with execution.events during past 1d | list ad.email_address", "past 7d | limit 5 |"
    for changes, summary in (
        ({"spec.nexthink.query": few, "spec.qualtrics.surveyId": "x"}, "1 mistake and 1 warning.</strong>"),
        ({"spec.nexthink.query": few, "spec.qualtrics.surveyId": "x", "spec.maxRecipients": "x"}, "2 mistakes and 1 "),
        ({"spec.qualtrics.surveyId": "x"}, "<strong>1 mistake.</strong>"),
        ({"spec.nexthink.query": few.replace("past 1d |", much)}, "<strong>1 warning.</strong>"),
        ({}, "<strong>No mistakes.</strong>"),
    ):
        page = await checked(client, {**NEW, **changes})
        assert summary in page.html
    page = await checked(client, {**NEW, "spec.nexthink.query": few, "metadata.name": "", "live": "1"})
    assert "No mistakes so far, and 1 warning.</strong> 1 field is still empty." in page.html


async def test_only_a_valid_manifest_is_said_to_be_applied(client: ClientSession) -> None:
    form = {**NEW, "spec.schedule.timeZone": "Europe/Zurich"}
    assert "If you apply it now, the first slot is" in (await checked(client, form)).html
    for changes in ({"metadata.name": "A"}, {"spec.nexthink.query": "users | lst x"}, {"spec.schedule.timeZone": ""}):
        page = await checked(client, {**form, "metadata.name": "A", **changes})
        assert "The manifest cannot be used yet" in page.html
        assert "If you apply" not in page.html
        assert "Applying the manifest" not in page.html


async def test_the_demo_says_that_it_has_no_cluster(client: ClientSession) -> None:
    demo = OneExporter(sample())
    demo.outbox = "http://127.0.0.1:1/outbox"
    sentence = "This demo has no cluster, so you cannot apply the manifest here."
    async with browsing(demo) as client_of_the_demo:
        page = await checked(client_of_the_demo, NEW)
        assert sentence in page.html
        assert "kubectl apply -n NAMESPACE -f teams-rollout.yaml" in page.html
    assert sentence not in (await checked(client, NEW)).html


@pytest.mark.parametrize(
    ("field", "value", "written"),
    [
        ("apiVersion", "qualtrics-exporter.dev/v1", "qualtrics-exporter.dev/v1alpha1"),
        ("apiVersion", "Qualtrics-Exporter.dev/v1alpha1", "qualtrics-exporter.dev/v1alpha1"),
        ("kind", "qualtricsexporter", "QualtricsExporter"),
    ],
)
async def test_another_version_or_kind_is_corrected_visibly(
    client: ClientSession, field: str, value: str, written: str
) -> None:
    page = await opened(client, to_yaml({**sample(), field: value}))
    notice = f"<code>{field}</code>: this form writes <code>{written}</code>"
    assert notice in page.html
    assert plain_yaml.read(page.manifest)[field] == written
    assert notice in (await checked(client, dict(page.sent))).html


async def test_what_the_script_gets_is_a_part_of_the_page(client: ClientSession) -> None:
    whole = await checked(client, {**NEW, "spec.qualtrics.surveyId": "teams"})
    live = await checked(client, {**NEW, "spec.qualtrics.surveyId": "teams", "live": "1", "complete": "1"})
    parts = [name for name in whole.elements if name.endswith("-findings") or name == "result"]
    assert {name: live.elements.get(name) for name in parts} == {name: whole.elements[name] for name in parts}
    assert "<form" not in live.html
    being_filled_in = await checked(client, {**NEW, "spec.qualtrics.surveyId": "", "live": "1"})
    assert "Still empty" in being_filled_in.html
    assert being_filled_in.elements["spec.qualtrics.surveyId-findings"]["data-severity"] == ""


async def test_a_slow_check_does_not_delay_other_requests(
    client: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(form: Form, *, complete: bool) -> Checked:
        begun.set()
        go_on.wait(HANG_SECONDS)
        return check(form, complete=complete)

    monkeypatch.setattr(form_views, "check", slow)
    checking = asyncio.create_task(checked(client, NEW))
    await asyncio.to_thread(begun.wait, HANG_SECONDS)
    async with client.get("assets/form.js") as response:
        assert response.status == 200
    assert not checking.done()
    go_on.set()
    assert (await checking).invalid == set()


async def test_an_exporter_of_the_cluster_is_edited_without_its_status_and_requests(client: ClientSession) -> None:
    async with client.get("exporters/dex/teams-rollout/edit") as response:
        page = Page(await response.text())
    assert "Edit dex/teams-rollout" in page.html
    assert plain_yaml.read(page.manifest) == changed({}, annotations={"note": "kept"})
    assert "The form cannot keep" not in page.html


async def test_an_exporter_that_does_not_exist_cannot_be_edited(client: ClientSession) -> None:
    async with client.get("exporters/dex/other/edit") as response:
        assert response.status == 404
        assert "This exporter does not exist" in await response.text()


async def test_another_name_than_that_of_the_opened_exporter_gets_a_warning(client: ClientSession) -> None:
    page = await opened(client, SAMPLE.read_text())
    assert "both send" not in page.html
    sent = dict(page.sent) | {"spec.schedule.frequency": "Daily", "metadata.name": "other"}
    page = await checked(client, sent)
    assert "both send" in page.html
    assert plain_yaml.read(page.manifest)["metadata"] == {"name": "other", "namespace": "dex"}


async def test_fields_that_the_form_does_not_show_survive_a_check(client: ClientSession) -> None:
    body = changed({}, labels={"team": "dex"}, annotations={"note": MARKUP})
    page = await opened(client, to_yaml(body))
    sent = dict(page.sent) | {"spec.schedule.frequency": "Daily", "spec.nexthink.driftPolicy": "Hold"}
    metadata = plain_yaml.read((await checked(client, sent)).manifest)["metadata"]
    assert metadata == body["metadata"]
    page = await checked(client, sent | {"opened": "kind: QualtricsExporter\nspec: ["}, 422)
    assert "Line 2, column 8: this is not YAML" in page.html


async def test_markup_in_a_manifest_is_text(client: ClientSession) -> None:
    body = changed(
        {"qualtrics.subject": MARKUP, "schedule.frequency": MARKUP, "nexthink.query": MARKUP, MARKUP: MARKUP}
    )
    body["spec"]["nexthink"]["parameters"] = {MARKUP: MARKUP}
    body["metadata"] = {"name": MARKUP, "namespace": MARKUP, "annotations": {MARKUP: MARKUP}}
    for text in (to_yaml(body), f"{to_yaml(body)}---\n{to_yaml(body)}", f"{to_yaml(body)}: {MARKUP}"):
        page = await opened(client, text, 422 if text.endswith(MARKUP) else 200)
        assert {src.rpartition("/")[2] for src in page.scripts} <= {"page.js", "form.js"}
        assert "<script>alert" not in page.html


async def test_a_file_can_be_opened_and_its_other_documents_do_not_reach_the_page(client: ClientSession) -> None:
    secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {clientSecret: do-not-show}\n"
    for name, content, shown in (
        ("one.yaml", f"{secret}---\n{SAMPLE.read_text()}", "Edit dex/teams-rollout"),
        ("two.yaml", f"{SAMPLE.read_text()}---\n{secret}---\n{to_yaml(changed({}, name='b'))}", "dex/b"),
        ("utf16.yaml", SAMPLE.read_text(), "Edit dex/teams-rollout"),
    ):
        data = FormData()
        data.add_field("text", "")
        encoded = content.encode("utf-16" if name.startswith("utf16") else "utf-8")
        data.add_field("file", encoded, filename=name, content_type="application/yaml")
        page = await checked(client, data, path="new/open")
        assert shown in page.html
        assert "do-not-show" not in page.html


async def test_one_of_several_exporters_can_be_chosen(client: ClientSession) -> None:
    page = await opened(client, f"{SAMPLE.read_text()}---\n{to_yaml(changed({}, name='b'))}")
    assert "This text has 2 exporters" in page.html
    start = page.html.rindex('name="text"')
    text = unescape(page.html[page.html.index(">", start) + 1 : page.html.index("</textarea>", start)])
    assert "Edit dex/b" in (await opened(client, text)).html


@pytest.mark.parametrize(
    "content", [b"\xff\xfe\xff", b"", b"\xff" * 100, b"kind: QualtricsExporter\n" + b"#" * (MAX_CHARACTERS + 1)]
)
async def test_a_file_that_cannot_be_opened_is_refused_with_a_sentence(client: ClientSession, content: bytes) -> None:
    data = FormData()
    data.add_field("file", content, filename="x.yaml")
    page = await checked(client, data, 422, "new/open")
    assert 'role="alert"' in page.html


@pytest.mark.parametrize(
    ("path", "body", "kind"),
    [
        ("new/check", b"metadata.name=%ED%A0%80&spec.nexthink.query=%00%FF", "application/x-www-form-urlencoded"),
        ("new/check", b"\xff\xfe=\xff", "application/x-www-form-urlencoded"),
        ("new/check", b"a=b", "application/x-www-form-urlencoded; charset=none"),
        ("new/open", b"text=" + b"x" * 5_000_000, "application/x-www-form-urlencoded"),
        ("new/open", b"nothing", "multipart/form-data; boundary=x"),
        ("new/open", b"--x\r\n\r\n", "multipart/form-data"),
        ("new/check", b"{}", "application/json"),
    ],
)
async def test_a_request_that_no_browser_sends_gets_a_page(
    client: ClientSession, path: str, body: bytes, kind: str
) -> None:
    async with client.post(path, data=BytesIO(body), headers={"Content-Type": kind}) as response:
        assert response.status in (200, 422)
        assert "</html>" in await response.text()


async def test_a_manifest_with_other_types_everywhere_is_shown(client: ClientSession) -> None:
    for wrong in ([1], {"a": 1}, True):
        for body in (
            {"kind": "QualtricsExporter", "metadata": wrong, "spec": wrong},
            {**sample(), "spec": dict.fromkeys(sample()["spec"], wrong)},
            {**sample(), "spec": {**sample()["spec"], "schedule": {"frequency": wrong, "timeZone": wrong}}},
        ):
            page = await opened(client, to_yaml(body))
            assert "The form cannot keep" in page.html or page.invalid
