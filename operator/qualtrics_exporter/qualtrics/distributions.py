"""A distribution: what is sent, and how to recognize it in a list."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from qualtrics_exporter.remote.errors import Transient
from qualtrics_exporter.remote.response import get_path
from qualtrics_exporter.resource.reasons import Reason
from qualtrics_exporter.resource.status import timestamp


class NotShown(Transient):
    """Qualtrics lists a distribution without its recipients, so it may be the one that is searched for."""

    @classmethod
    def because(cls, what: str) -> Self:
        """The error; `what` follows "Qualtrics"."""
        return cls(Reason.REMOTE_REPLY_INVALID, f"Qualtrics {what}")


@dataclass(frozen=True, slots=True, repr=False)
class Distribution:
    """A survey to be sent to the people of a batch."""

    library_id: str
    message_id: str
    batch_id: str
    from_name: str
    from_email: str
    reply_to_email: str | None
    subject: str
    survey_id: str
    expiration: datetime | None
    send_date: datetime

    def __repr__(self) -> str:
        return f"<Distribution of {self.survey_id} to {self.batch_id}>"

    def payload(self) -> dict[str, Any]:
        header = {"fromName": self.from_name, "fromEmail": self.from_email, "subject": self.subject}
        if self.reply_to_email:
            header["replyToEmail"] = self.reply_to_email
        link = {"surveyId": self.survey_id, "type": "Individual"}
        if self.expiration:
            link["expirationDate"] = timestamp(self.expiration)
        return {
            "message": {"libraryId": self.library_id, "messageId": self.message_id},
            "recipients": {"transactionBatchId": self.batch_id},
            "header": header,
            "surveyLink": link,
            "sendDate": timestamp(self.send_date),
        }


def goes_to(entry: Any, batch_id: str) -> bool | None:
    """Whether a distribution is for that batch; None if Qualtrics does not show it.

    Only another batch excludes this one. A mailing list, a contact or a sample does not: only one example shows how
    Qualtrics presents the recipients of a batch (docs/facts/qualtrics.md section 3).
    """
    recipients = get_path(entry, "recipients")
    shown = [get_path(entry, "transactionBatchId"), *(recipients.values() if isinstance(recipients, dict) else ())]
    if batch_id in shown:
        return True
    return False if any(isinstance(value, str) and value.startswith("BT_") for value in shown) else None
