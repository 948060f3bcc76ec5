"""`qualtrics-exporter crd`."""

import click

from qualtrics_exporter.resource.crd import crd_yaml


@click.command()
def crd() -> None:
    """Print the CustomResourceDefinition that this version expects.

    It is the first thing to apply, also when a new version of the operator is installed.

    \b
    Examples:
      qualtrics-exporter crd | kubectl apply --server-side -f -
      qualtrics-exporter crd | kubectl diff -f -
    """
    click.echo(crd_yaml(), nl=False)
