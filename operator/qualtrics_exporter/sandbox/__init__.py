"""Nexthink and Qualtrics as two local servers, to try and to test against.

They are as strict as what is known about the real ones, and where something is unknown they take the stricter side
or offer a knob on `World`. Comments name the section of the collected facts and its mark: D documented by the
vendor, S seen, I inferred, ? unknown. They import nothing from the clients, so that they cannot share their mistakes.

    async with Sandbox() as sandbox:
        sandbox.secrets()                      # what the two credentials Secrets need
        sandbox.faults.add("qualtrics.create_distribution", drop="after")
        ...
        sandbox.ledger.mails()                 # who was mailed, and how often: the oracle

`world` is what exists, `ledger` what happened, `faults` what shall go wrong. `bell` lets others wait for either.
"""

from qualtrics_exporter.sandbox.faults import Fault, Faults
from qualtrics_exporter.sandbox.ledger import Batch, Call, Ledger, SentDistribution
from qualtrics_exporter.sandbox.limits import Limits
from qualtrics_exporter.sandbox.server import Sandbox
from qualtrics_exporter.sandbox.world import Credential, Directory, MailingList, Message, Query, Survey, World

__all__ = [
    "Batch",
    "Call",
    "Credential",
    "Directory",
    "Fault",
    "Faults",
    "Ledger",
    "Limits",
    "MailingList",
    "Message",
    "Query",
    "Sandbox",
    "SentDistribution",
    "Survey",
    "World",
]
