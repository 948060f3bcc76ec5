"""`kubectl qex list`, `status`, `history` and `events`: commands that only read."""

import json

import click

from qualtrics_exporter.cli.qex import events, views
from qualtrics_exporter.cli.qex.kubectl import RESOURCE, Kubectl, connected, name_argument
from qualtrics_exporter.cli.qex.output import ENTRY_FORMATS, OBJECT_FORMATS, format_data, format_object, output_option
from qualtrics_exporter.cli.qex.tables import table
from qualtrics_exporter.pages.times import ago, now
from qualtrics_exporter.resource.exporter import Exporter

object_output = output_option(OBJECT_FORMATS, "Print the objects for programs, as kubectl get does.")


@click.command("list")
@click.option("-A", "--all-namespaces", "everywhere", is_flag=True, help="List the exporters of all namespaces.")
@click.option("-l", "--selector", metavar="LABELS", help="Label selector, for example team=dex.")
@object_output
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
        which = "exporters with these labels" if selector else "exporters"
        click.echo(f"There are no {which} in {_searched(kubectl, everywhere=everywhere)}.", err=True)


def _searched(kubectl: Kubectl, *, everywhere: bool) -> str:
    if everywhere:
        return "this cluster"
    namespace = f"the namespace {kubectl.namespace}" if kubectl.namespace else "the namespace of your current context"
    return f"{namespace}. `kubectl qex list -A` lists the exporters of all namespaces"


@click.command("status")
@name_argument
@object_output
@connected
def status_command(*, kubectl: Kubectl, name: str, output: str | None) -> None:
    """Show one exporter: schedule, next slots, conditions with next steps, latest runs."""
    found = kubectl.get(name)
    if output:
        click.echo(format_object(found, output))
    else:
        click.echo(views.status_page(Exporter.from_object(found), now(), None))


@click.command("history")
@name_argument
@output_option(ENTRY_FORMATS, "Print the entries for programs.")
@connected
def history_command(*, kubectl: Kubectl, name: str, output: str | None) -> None:
    """Show the latest runs with their counts and delivery figures, newest first.

    The operator keeps ten entries, and the last test. Its log and its metrics have more.
    """
    found = kubectl.get(name)
    if output:
        status = found.get("status") or {}
        click.echo(format_data({key: status.get(key) for key in ("history", "lastTest")}, output))
        return
    entries = Exporter.from_object(found).status.entries
    if entries:
        click.echo(views.history(entries, None))
    else:
        click.echo("This exporter has not run yet.", err=True)


@click.command("events")
@name_argument
@object_output
@connected
def events_command(*, kubectl: Kubectl, name: str, output: str | None) -> None:
    """Show the Events of an exporter, oldest first. The API server keeps them for about an hour."""
    selector = events.selector_of(kubectl.get(name))
    found = kubectl.call("get", "events.v1.events.k8s.io", "--field-selector", selector, "--output", output or "json")
    if output:
        click.echo(found, nl=False)
        return
    items = sorted(json.loads(found)["items"], key=events.order_of)
    if not items:
        click.echo("There are no Events of this exporter. The API server keeps them for about an hour.", err=True)
        return
    at = now()
    rows = (
        (ago(events.time_of(each), at), each.get("type", ""), each.get("reason", ""), each.get("note", ""))
        for each in items
    )
    click.echo(table(("LAST SEEN", "TYPE", "REASON", "MESSAGE"), rows))
