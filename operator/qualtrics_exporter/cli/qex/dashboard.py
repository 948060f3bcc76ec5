"""`kubectl qex dashboard`."""

import asyncio
import signal
import sys
import webbrowser
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import Any

import click

from qualtrics_exporter.cli.console.cluster import cluster
from qualtrics_exporter.cli.console.server import serve
from qualtrics_exporter.cli.console.session import Session
from qualtrics_exporter.cli.console.source import Source
from qualtrics_exporter.cli.qex.kubectl import Kubectl, connected
from qualtrics_exporter.cli.streams import say
from qualtrics_exporter.clock import Clock, SystemClock


@click.command("dashboard")
@click.option("-A", "--all-namespaces", "everywhere", is_flag=True, help="Show the exporters of all namespaces.")
@click.option(
    "--port", type=click.IntRange(0, 65535), metavar="PORT", default=0,
    help="Port of 127.0.0.1. Default: any free port.",
)  # fmt: skip
@click.option("--no-browser", is_flag=True, help="Only print the address.")
@partial(connected, default="all, or that of the current context if you may not list the others")
def dashboard_command(*, kubectl: Kubectl, everywhere: bool, port: int, no_browser: bool) -> None:
    """Show the exporters on a page of this machine, until Ctrl-C.

    The page has the permissions of your kubeconfig. Its address works once, in one browser: press Enter for another.
    """
    if everywhere and kubectl.namespace:
        raise click.UsageError("Use either --namespace or --all-namespaces.")
    asyncio.run(_dashboard(kubectl, everywhere=everywhere, port=port, browser=not no_browser))


async def _dashboard(kubectl: Kubectl, *, everywhere: bool, port: int, browser: bool) -> None:
    asyncio.get_running_loop().set_exception_handler(_on_loop_error)
    stop = stop_signal()
    showing = asyncio.create_task(_show(stop, kubectl, everywhere=everywhere, port=port, browser=browser))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({showing, stopping}, return_when=asyncio.FIRST_COMPLETED)
    for task in (showing, stopping):
        task.cancel()  # a signal stops the console, also while it starts
    with suppress(asyncio.CancelledError):
        await showing


def _on_loop_error(_loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
    """Report an error that no task handles, without a traceback.

    anyio sets the result of a read that may have been cancelled at the same moment. The console ignores that error.
    """
    error = context.get("exception")
    if not isinstance(error, asyncio.InvalidStateError):
        say(f"The console has an internal error ({type(error).__name__}). Please report it.")


async def _show(stop: asyncio.Event, kubectl: Kubectl, *, everywhere: bool, port: int, browser: bool) -> None:
    clock = SystemClock()
    async with cluster(kubectl, clock, everywhere=everywhere) as source:
        await show_until(stop, source, clock, port=port, browser=browser)


def stop_signal() -> asyncio.Event:
    """An event that Ctrl-C and other signals set."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def show_until(stop: asyncio.Event, source: Source, clock: Clock, *, port: int, browser: bool) -> None:
    """Serve the console, and print its address."""
    async with _served(source, clock, port) as session:
        await show_address(session, browser=browser)
        offer_addresses(session)
        await stop.wait()


@asynccontextmanager
async def _served(source: Source, clock: Clock, port: int) -> AsyncIterator[Session]:
    async with AsyncExitStack() as stack:
        try:
            session = await stack.enter_async_context(serve(source, clock, port=port))
        except OSError as error:
            raise click.ClickException(f"Port {port} cannot be used: {error.strerror}.") from None
        yield session


async def show_address(session: Session, *, browser: bool) -> None:
    """Print the address, and open it."""
    address = session.new_address()
    click.echo(address)
    say("The address works once. Press Enter for another one, and Ctrl-C to stop.")
    if browser:
        await asyncio.to_thread(webbrowser.open, address)


def offer_addresses(session: Session) -> None:
    """In a terminal, print a new address for each Enter."""

    def on_input() -> None:
        if sys.stdin.readline():
            click.echo(session.new_address())
        else:
            asyncio.get_running_loop().remove_reader(sys.stdin)

    if sys.stdin and sys.stdin.isatty():
        with suppress(OSError, NotImplementedError):
            asyncio.get_running_loop().add_reader(sys.stdin, on_input)
