"""`kubectl qex list`, `status`, `history` and `events`: commands that only read."""

import json
from datetime import datetime
from typing import Any

import click

from qualtrics_exporter.cli.qex import views
from qualtrics_exporter.cli.qex.kubectl import RESOURCE, Kubectl, connected, name_argument
from qualtrics_exporter.cli.qex.tables import table
from qualtrics_exporter.pages.times import ago, now
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.names import KIND

MACHINE_FORMATS = ("json", "yaml", "name")

output = click.option(
    "-o", "--output", type=click.Choice(MACHINE_FORMATS), help="Print the objects for programs, as kubectl get does."
)


@click.command("list")
@click.option("-A", "--all-namespaces", "everywhere", is_flag=True, help="List the exporters of all namespaces.")
@click.option("-l", "--selector", metavar="LABELS", help="Label selector, for example team=dex.")
@output
@connected
def list_command(*, kubectl: Kubectl, everywhere: bool, selector: str | None, output: str | None) -> None:
    """List exporters: active or suspended, schedule, next slot, last run, health."""
    if output:
        arguments = ["get", RESOURCE, "--output", output]
        arguments += ["--all-namespaces"] if everywhere else []
        arguments += ["--selector", selector] if selector else []
        click.echo(kubectl.call(*arguments), nl=False)
        return
    exporters = [Exporter.from_object(each) for each in kubectl.list(everywhere=everywhere, selector=selector)]
    if exporters:
        click.echo(views.listed(exporters, now(), None, namespaces=everywhere))
    else:
        click.echo("There are no exporters here." if everywhere else "There are no exporters here. Try -A.", err=True)


@click.command("status")
@name_argument
@output
@connected
def status_command(*, kubectl: Kubectl, name: str, output: str | None) -> None:
    """Show one exporter: schedule, next slots, conditions with next steps, latest runs."""
    if output:
        click.echo(kubectl.call("get", RESOURCE, name, "--output", output), nl=False)
    else:
        click.echo(views.status_page(Exporter.from_object(kubectl.get(name)), now(), None))


@click.command("history")
@name_argument
@click.option("-o", "--output", type=click.Choice(("json",)), help="Print the entries as JSON.")
@connected
def history_command(*, kubectl: Kubectl, name: str, output: str | None) -> None:
    """Show the latest runs with their counts and delivery figures, newest first.

    The operator keeps ten entries, and the last test. Its log and its metrics have more.
    """
    found = kubectl.get(name)
    if output:
        status = found.get("status") or {}
        click.echo(json.dumps({key: status.get(key) for key in ("history", "lastTest")}, indent=2))
        return
    entries = Exporter.from_object(found).status.entries
    if entries:
        click.echo(views.history(entries, None))
    else:
        click.echo("This exporter has not run yet.", err=True)


@click.command("events")
@name_argument
@connected
def events_command(*, kubectl: Kubectl, name: str) -> None:
    """Show the Events of an exporter, oldest first. The API server keeps them for about an hour."""
    uid = kubectl.get(name)["metadata"]["uid"]
    selector = f"regarding.kind={KIND},regarding.name={name}"
    found = kubectl.call("get", "events.v1.events.k8s.io", "--field-selector", selector, "--output", "json")
    events = [each for each in json.loads(found)["items"] if each.get("regarding", {}).get("uid") == uid]
    if not events:
        click.echo("There are no Events of this exporter.", err=True)
        return
    at = now()
    events.sort(key=_time)
    rows = (
        (ago(_parsed(_time(each)), at), each.get("type", ""), each.get("reason", ""), each.get("note", ""))
        for each in events
    )
    click.echo(table(("LAST SEEN", "TYPE", "REASON", "MESSAGE"), rows))


def _time(event: dict[str, Any]) -> str:
    series = event.get("series") or {}
    return str(series.get("lastObservedTime") or event.get("eventTime") or event["metadata"]["creationTimestamp"])


def _parsed(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
