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
from qualtrics_exporter.sandbox import Query, Sandbox, World

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
PORT = click.IntRange(0, 65535)


@click.command()
@flag("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@flag("--nexthink-port", type=PORT, metavar="PORT", default=8471, show_default=True, help="0 is any free one.")
@flag("--qualtrics-port", type=PORT, metavar="PORT", default=8472, show_default=True, help="0 is any free one.")
@flag("--store-port", type=PORT, metavar="PORT", default=0, show_default=True, help="The store of large results.")
@flag(
    "--advertise",
    metavar="NAME",
    show_default="--host",
    help="The host name in the addresses that are handed out: that of the certificate, or of a Service in front.",
)
@flag("--certificate", type=FILE, metavar="FILE", help="Serve https with this certificate (PEM, with its chain).")
@flag("--key", type=FILE, metavar="FILE", help="The certificate's private key (PEM).")
@flag(
    "--people",
    type=click.IntRange(min=0),
    metavar="N",
    help="How many people the query returns, user000001@example.com and so on.  [default: a handful of odd ones]",
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
    """Serve Nexthink and Qualtrics locally, to try exporters against.

    Both are as strict as what is known about the real ones, and no mail leaves the machine: the outbox shows every
    distribution and who got it. The Secrets that fit are printed to standard output as YAML, everything else to
    standard error. SIGINT and SIGTERM end it; it forgets everything.

    \b
    Examples:
      qualtrics-exporter sandbox > secrets.yaml
      qualtrics-exporter sandbox --people 25000
      qualtrics-exporter sandbox --host 0.0.0.0 --certificate tls.crt --key tls.key --advertise sandbox.dex.svc
    """
    if (certificate is None) != (key is None):
        raise click.UsageError("--certificate and --key go together.")
    world = World.default()
    if people is not None:
        query = Query.generated(world.query_id, people)
        query.executed = world.queries[world.query_id].executed
        world.add_query(query)
    served = Sandbox(
        world,
        host=host,
        nexthink_port=nexthink_port,
        qualtrics_port=qualtrics_port,
        store_port=store_port,
        advertise=advertise,
        tls=_tls(certificate, key) if certificate and key else None,
    )
    asyncio.run(_serve(served, plain=certificate is None))


def secrets(served: Sandbox) -> list[dict[str, Any]]:
    """The manifests of the two Secrets, without a namespace: they go where they are applied."""
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
        say(_welcome(served, plain=plain))
        await stop.wait()


def _welcome(served: Sandbox, *, plain: bool) -> str:
    world = served.world
    host = served.qualtrics_url.partition("://")[2].rpartition(":")[0]
    http = " --allow-http" if plain else ""
    return f"""\
Nexthink   {served.nexthink_url}
Qualtrics  {served.qualtrics_url}
Outbox     {served.outbox_url}

They know these:
  query      "{world.query_id}"
  survey     {world.survey_id}
  message    {world.message_id} in library {world.library_id}
  list       {world.mailing_list_id} in directory {world.directory_id}

`run` and `controller` talk to them with: --allowed-host {host}{http}
Ctrl-C ends it."""


def _tls(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        raise click.ClickException(
            f"{certificate} and {key} are no certificate and its key, in PEM: {error.reason or error}"
        ) from None
    except OSError as error:
        raise click.ClickException(f"{certificate} and {key} cannot be read: {error.strerror}.") from None
    return context
