"""`qualtrics-exporter demo`."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

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
    qualtrics-exporter sandbox            serve the same Nexthink and Qualtrics, to try your own exporters
    qualtrics-exporter run --help         how to run an export without a cluster
    qualtrics-exporter controller --help  how to run the operator
"""


@click.command()
def demo() -> None:
    """Run a complete example locally, in about ten seconds.

    A sandbox in this process serves Nexthink and Qualtrics. The demo runs one export against them, and its outbox shows
    who got an e-mail. It sends no real e-mail, keeps no files, and needs no cluster.
    """
    logs.configure("console", "warning")
    check_tls()
    account = Account.default()
    manifest = exporter_manifest(account)
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
