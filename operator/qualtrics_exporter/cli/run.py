"""`qualtrics-exporter run`."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import click

from qualtrics_exporter.cli.flags import (
    allow_http,
    allowed_download_host,
    allowed_host,
    flag,
    no_proxy,
    proxies,
    proxy,
    time_zone,
)
from qualtrics_exporter.cli.local_setup import check_journal, check_tls, state_folder
from qualtrics_exporter.cli.manifests import Secrets, read_exporter
from qualtrics_exporter.cli.report import GOOD, report
from qualtrics_exporter.cli.streams import OutputLost, say
from qualtrics_exporter.cli.without_cluster import Export
from qualtrics_exporter.export.guards import check_text, contradictions
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.spec import Spec
from qualtrics_exporter.telemetry import logs
from qualtrics_exporter.telemetry.redact import redact

FILE = click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)


@click.command()
@click.argument("file", type=FILE)
@flag(
    "--secrets",
    required=True,
    type=FILE,
    metavar="FILE",
    help="YAML with the manifests of the two credentials Secrets.",
)
@flag("--name", help="Name of the exporter, if FILE has several.")
@flag("--send", is_flag=True, help="Send the survey. Without this flag, the command only counts the people.")
@flag(
    "--test",
    is_flag=True,
    help="Check Nexthink and Qualtrics completely and count the people. With --send, send to at most 20 of them.",
)
@flag(
    "--journal",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="PATH",
    help="Absolute path of the file that records what was done. Keep this file: it ensures that a survey is sent at "
    "most once.",
    show_default="~/.local/state/qualtrics-exporter/NAMESPACE/NAME.json, or in XDG_STATE_HOME",
)
@time_zone("UTC")
@allowed_host
@allowed_download_host
@allow_http
@proxy
@no_proxy
def run(
    *,
    file: Path,
    secrets: Path,
    name: str | None,
    send: bool,
    test: bool,
    journal: Path | None,
    time_zone: str,
    proxy: str | None,
    no_proxy: tuple[str, ...],
    **hosts: Any,
) -> None:
    """Run one export without a cluster. Sends no e-mail without --send.

    FILE has the manifest of a QualtricsExporter, possibly with other objects; - is standard input. The export runs now.
    The schedule only selects the group for spec.sample.groups. Without --send, the command checks Nexthink and
    Qualtrics and counts the people of the query. It creates nothing in Qualtrics and imports nobody.

    If a run was interrupted, run the same command again to resume it. If the survey may be sent already, the command
    looks it up and does not send it again. The journal does not know what a cluster sends: suspend an exporter there
    before you send it from here.

    \b
    Examples:
      qualtrics-exporter run exporter.yaml --secrets secrets.yaml
      qualtrics-exporter run exporter.yaml --secrets secrets.yaml --test
      qualtrics-exporter run exporter.yaml --secrets secrets.yaml --send
      kubectl get secret nexthink qualtrics -o yaml | qualtrics-exporter run exporter.yaml --secrets -

    \b
    Exit codes: 0 sent, dry run, test passed, or nobody to send to; 1 anything else; 2 wrong usage.
    They do not change if the report or the progress cannot be written.
    """
    logs.configure("console", "warning")
    if str(file) == str(secrets) == "-":
        raise click.UsageError("Only one of FILE and --secrets can be standard input.")
    exporter = read_exporter(file, name)
    spec = exporter.spec
    assert spec is not None  # noqa: S101  read_exporter rejects exporters without one
    check_tls()
    if send or not test:
        chosen = journal is not None
        journal = check_journal(journal or default_journal(exporter), chosen=chosen)
    else:
        journal = journal or Path("journal.json")  # a test that sends nothing has no journal
    export = Export(
        exporter=exporter,
        spec=spec,
        secrets=Secrets.read(secrets),
        journal=journal,
        proxies=proxies(proxy, no_proxy),
        time_zone=time_zone,
        send=send,
        test=test,
        **hosts,
    )
    warnings = [f"{warning.reason}: {warning.what}" for warning in (*check_text(spec).warnings, *contradictions(spec))]
    for remark in [*_remarks(spec, time_zone, send=send), *warnings]:
        say(redact(remark))
    try:
        outcome = export()
    except (KeyboardInterrupt, asyncio.CancelledError):
        resume = f"The journal {journal} records what was done. Run the same command again to resume."
        raise click.ClickException(f"Interrupted. {resume if send or not test else 'Nothing was sent.'}") from None
    dry = not send and not spec.dry_run
    entry = outcome.entry
    if _print_report(report(exporter.name, entry, earlier=outcome.earlier)) or outcome.earlier:
        # An earlier run is reported only once, even if the output is broken. Otherwise it would block all later sends.
        export.mark_reported(entry)
    if dry and entry.result == "DryRun":
        say("To send the survey to these people, run the same command with --send.")
    sys.exit(0 if entry.result in GOOD else 1)


def _print_report(text: str) -> bool:
    """Write the report to standard output, or else to standard error. Returns whether it was written completely."""
    try:
        click.echo(text)
    except OutputLost as lost:
        say(f"The report cannot be written to standard output: {lost}. The report is:")
        return say(text)
    return True


def default_journal(exporter: Exporter) -> Path:
    """The path of the exporter's journal below the state folder of the user."""
    folder = state_folder() / "qualtrics-exporter" / (exporter.namespace or "default")
    return folder / f"{exporter.name}.json"


def _remarks(spec: Spec, default_zone: str, *, send: bool) -> list[str]:
    remarks = [f"In a cluster, this exporter has a slot {spec.schedule.in_zone(default_zone).describe()}."]
    if spec.suspend:
        remarks.append("In a cluster, this exporter is suspended (spec.suspend).")
    if send and spec.dry_run:
        remarks.append("spec.dryRun is true: despite --send, nothing will be sent.")
    return remarks
