"""`qualtrics-exporter crd`."""

import click

from qualtrics_exporter.cli.flags import flag
from qualtrics_exporter.resource.crd import crd_yaml
from qualtrics_exporter.resource.json_schema import json_schema_text


@click.command()
@flag("--json-schema", is_flag=True, help="Print the JSON Schema of a manifest instead, for editors.")
def crd(*, json_schema: bool) -> None:
    """Print the CustomResourceDefinition that this version expects.

    Apply it before you install or upgrade the operator.

    \b
    Examples:
      qualtrics-exporter crd | kubectl apply --server-side -f -
      qualtrics-exporter crd | kubectl diff -f -
      qualtrics-exporter crd --json-schema > exporter.schema.json
    """
    # Bytes: kubectl and editors read UTF-8, whatever the encoding of the terminal.
    click.echo((json_schema_text() if json_schema else crd_yaml()).encode(), nl=False)
