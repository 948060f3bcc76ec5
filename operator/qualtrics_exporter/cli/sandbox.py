"""`qualtrics-exporter sandbox`."""

import asyncio
import signal
import ssl
from pathlib import Path
from typing import Any

import click
import yaml

from qualtrics_exporter.cli.flags import flag
from qualtrics_exporter.cli.streams import say
from qualtrics_exporter.sandbox import Account, Query, Sandbox

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
PORT = click.IntRange(0, 65535)


@click.command()
@flag("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@flag("--nexthink-port", type=PORT, metavar="PORT", default=8471, show_default=True, help="0: any free port.")
@flag("--qualtrics-port", type=PORT, metavar="PORT", default=8472, show_default=True, help="0: any free port.")
@flag("--store-port", type=PORT, metavar="PORT", default=0, show_default=True, help="Port for large query results.")
@flag(
    "--advertise",
    metavar="NAME",
    show_default="--host",
    help="Host name in the URLs that the sandbox prints and returns: the name in the certificate, or of a Service.",
)
@flag("--certificate", type=FILE, metavar="FILE", help="Serve https with this certificate (PEM, with its chain).")
@flag("--key", type=FILE, metavar="FILE", help="Private key of the certificate (PEM).")
@flag(
    "--people",
    type=click.IntRange(min=0),
    metavar="N",
    help="Number of people that the query returns, user000001@example.com and so on.  [default: a few unusual rows]",
)
def sandbox(
    *,
    host: str,
    nexthink_port: int,
    qualtrics_port: int,
    store_port: int,
    advertise: str | None,
    certificate: Path | None,
    key: Path | None,
    people: int | None,
) -> None:
    """Serve a local Nexthink and Qualtrics to try exporters with.

    Both are as strict as the real services, as far as these are known. No e-mail leaves the machine: the outbox, a page
    for your browser, shows every distribution with its recipients, and injects faults. The command prints matching
    Secrets to standard output as YAML, and everything else to standard error. SIGINT and SIGTERM stop it. It does not
    keep its state.

    \b
    Examples:
      qualtrics-exporter sandbox > secrets.yaml
      qualtrics-exporter sandbox --people 25000
      qualtrics-exporter sandbox --host 0.0.0.0 --certificate tls.crt --key tls.key --advertise sandbox.dex.svc
    """
    if (certificate is None) != (key is None):
        raise click.UsageError("Use --certificate and --key together.")
    account = Account.default()
    if people is not None:
        query = Query.generated(account.query_id, people)
        query.executed = account.queries[account.query_id].executed
        account.add_query(query)
    served = Sandbox(
        account,
        host=host,
        nexthink_port=nexthink_port,
        qualtrics_port=qualtrics_port,
        store_port=store_port,
        advertise=advertise,
        tls=_tls(certificate, key) if certificate and key else None,
    )
    asyncio.run(_serve(served, plain=certificate is None))


def secrets(served: Sandbox) -> list[dict[str, Any]]:
    """The manifests of the two Secrets, without a namespace."""
    return [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": "Opaque", "stringData": keys}
        for name, keys in served.secrets().items()
    ]


async def _serve(served: Sandbox, *, plain: bool) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with served:
        click.echo(yaml.safe_dump_all(secrets(served), sort_keys=False), nl=False)
        say(_startup_text(served, plain=plain))
        await stop.wait()


def _startup_text(served: Sandbox, *, plain: bool) -> str:
    account = served.account
    host = served.qualtrics_url.partition("://")[2].rpartition(":")[0]
    http = " --allow-http" if plain else ""
    return f"""\
Nexthink   {served.nexthink_url}
Qualtrics  {served.qualtrics_url}
Outbox     {served.outbox_url}

They have:
  query      "{account.query_id}"
  survey     {account.survey_id}
  message    {account.message_id} in library {account.library_id}
  list       {account.mailing_list_id} in directory {account.directory_id}

To use them, pass to `run` or `controller`: --allowed-host {host}{http}
Press Ctrl-C to stop."""


def _tls(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        raise click.ClickException(
            f"{certificate} and {key} are not a certificate and its private key in PEM format: {error.reason or error}"
        ) from None
    except OSError as error:
        raise click.ClickException(f"{certificate} and {key} cannot be read: {error.strerror}.") from None
    return context
