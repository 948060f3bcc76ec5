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

server.py         both services on sockets: `Sandbox`
gate.py           every request passes here: it is recorded, and meets its faults
faults.py         faults, ordered for chosen calls
ledger.py         what happened
world.py          what exists: queries, surveys, lists, credentials
samples.py        what the manifests in `samples/` need
knobs.py          settings of the world, by name
bell.py           waiting for a change
limits.py         rate limits
tokens.py         the token endpoints
nexthink.py       Nexthink: the NQL API
store.py          Nexthink: the files of exports
qualtrics.py      Qualtrics: access and plain reads
imports.py        Qualtrics: batches and imports
distributions.py  Qualtrics: sends, and the list of what was sent
brand.py          Qualtrics: contacts, batches and mails, without HTTP
strict.py         Qualtrics: strict request bodies, and the form of responses
outbox.py         the outbox: each distribution and its recipients
control.py        `/_sandbox/`: the outbox, and orders of tests
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
