"""`qualtrics-exporter demo`."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from qualtrics_exporter.cli.flags import flag
from qualtrics_exporter.cli.local_setup import check_tls, temporary_folder
from qualtrics_exporter.cli.manifests import Secrets
from qualtrics_exporter.cli.report import report
from qualtrics_exporter.cli.sandbox import secrets
from qualtrics_exporter.cli.without_cluster import Export
from qualtrics_exporter.cli.written_yaml import to_yaml
from qualtrics_exporter.clock import SystemClock
from qualtrics_exporter.resource.exporter import Exporter
from qualtrics_exporter.resource.names import GROUP, KIND, VERSION
from qualtrics_exporter.resource.status import HistoryEntry
from qualtrics_exporter.sandbox import Account, Sandbox, SentDistribution
from qualtrics_exporter.telemetry import logs

NEXT = """
What next:
    qualtrics-exporter demo --dashboard   the same exporter on a page in your browser
    qualtrics-exporter sandbox            serve the same Nexthink and Qualtrics, to try your own exporters
    qualtrics-exporter run --help         how to run an export without a cluster
    qualtrics-exporter controller --help  how to run the operator
"""


@click.command()
@flag("--dashboard", is_flag=True, help="Show the exporter on a page of this machine, until Ctrl-C.")
@flag(
    "--dashboard-port",
    "--port",
    "port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="Port of the page.  [default: any free port]",
)
@flag("--no-browser", is_flag=True, help="Only print the address of the page.")
def demo(*, dashboard: bool, port: int | None, no_browser: bool) -> None:
    """Run a complete example locally, in about ten seconds.

    A sandbox in this process serves Nexthink and Qualtrics. The demo runs one export against them, and its outbox shows
    who got an e-mail. It sends no real e-mail, keeps no files, and needs no cluster.

    With --dashboard, you run the export yourself, on the page that `kubectl qex dashboard` shows for a cluster.
    """
    if not dashboard and (port is not None or no_browser):
        raise click.UsageError("Use --port and --no-browser with --dashboard.")
    logs.configure("console", "warning")
    check_tls()
    account = Account.default()
    manifest = exporter_manifest(account)
    if dashboard:
        asyncio.run(_dashboard(account, manifest, port=port or 0, browser=not no_browser))
        return
    click.echo("An exporter, as you would apply it to a cluster:\n")
    click.echo(_indented(to_yaml(manifest).rstrip()))
    rows = [str(address or "(none)") for (address,) in account.queries[account.query_id].stream()]
    click.echo(f"\nIts query returns {len(rows)} rows:\n\n{_indented(', '.join(rows))}\n")
    entry, sent = asyncio.run(_export(account, manifest))
    click.echo(f"One export, without a cluster:\n\n{_indented(report(manifest['metadata']['name'], entry))}")
    click.echo(f"\nThe outbox of the sandbox:\n\n{_indented(_outbox(sent))}")
    click.echo(NEXT, nl=False)
    sys.exit(0 if entry.result == "Succeeded" else 1)


def exporter_manifest(account: Account) -> dict[str, Any]:
    """An exporter of the query, survey and message that the sandbox serves."""
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "metadata": {"name": "teams-rollout", "namespace": "dex"},
        "spec": {
            "description": "Ask people who stopped using Teams why",
            **account.exporter_spec(),
            "maxRecipients": 5000,
        },
    }


async def _export(account: Account, manifest: dict[str, Any]) -> tuple[HistoryEntry, list[SentDistribution]]:
    exporter = Exporter.from_object(manifest)
    assert exporter.spec, exporter.spec_error  # noqa: S101
    with temporary_folder() as folder:
        async with Sandbox(account) as served:
            export = Export(
                exporter=exporter,
                spec=exporter.spec,
                secrets=Secrets("the sandbox", secrets(served)),
                journal=Path(folder) / "journal.json",
                allowed_hosts=["127.0.0.1"],
                allow_http=True,
                send=True,
            )
            return (await export.done(SystemClock())).entry, served.recorder.distributions


async def _dashboard(account: Account, manifest: dict[str, Any], *, port: int, browser: bool) -> None:
    # Imported here, so that the demo without a page starts faster.
    from qualtrics_exporter.cli.console.demo import Demo
    from qualtrics_exporter.cli.console.demo_operator import operating
    from qualtrics_exporter.cli.qex.dashboard import show_until, stop_signal

    stop, clock = stop_signal(), SystemClock()
    account.delivery_seconds = 0  # the figures of a run are there as soon as it ends
    with temporary_folder() as folder:
        async with Sandbox(account) as served:
            source = Demo(manifest, clock, outbox=served.outbox_url)
            async with operating(source, secrets(served), Path(folder) / "journal.json", clock):
                await show_until(stop, source, clock, port=port, browser=browser)


def _outbox(distributions: list[SentDistribution]) -> str:
    return "\n".join(line for sent in distributions for line in _lines(sent)) or "empty"


def _lines(sent: SentDistribution) -> Iterator[str]:
    header = sent.request["header"]
    yield f"Distribution {sent.id} of survey {sent.survey_id}"
    yield f"  From:    {header['fromName']} <{header['fromEmail']}>"
    yield f"  Subject: {sent.subject}"
    for address in sent.recipients:
        yield f"  To:      {address}"


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
