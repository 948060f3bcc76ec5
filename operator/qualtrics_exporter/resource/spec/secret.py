"""`credentialsSecretRef`: the Secret with the credentials of a remote service."""

from typing import Annotated

from pydantic import Field

from qualtrics_exporter.resource.model import SpecModel
from qualtrics_exporter.resource.rules import Rule


class SecretRef(SpecModel):
    """A Secret in the namespace of the exporter."""

    name: Annotated[
        str,
        Field(max_length=253),
        Rule.pattern(
            "^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
            "must be the name of a Secret: lower case letters, digits, - and ., with a letter or digit at both ends",
        ),
    ] = Field(description="Name of the Secret in the namespace of the exporter, for example nexthink.")
