"""One line of mail about a night, for people who look at no page: over TLS only."""

from __future__ import annotations

import json
import smtplib
import ssl
from email.message import EmailMessage
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from zads import output, wholefile
from zads.errors import ZadsError
from zads.site.entry import Entry, Problem, checked

if TYPE_CHECKING:
    from pathlib import Path

ADDRESS = r"\A[^\s@<>,;:\"]+@[^\s@<>,;:\"]+\Z"
#: Where Debian keeps the authorities that everybody trusts.
AUTHORITY = "/etc/ssl/certs/ca-certificates.crt"
SECONDS = 20.0  # for each answer of the relay
_SUBJECT = 150  # characters of the line that stand in the subject


class MailError(Exception):
    """A mail could not be sent."""


class Settings(Entry):
    """How mail is sent: the variable auditor_mail of an inventory."""

    relay: str = Field(
        pattern=r"\A[A-Za-z0-9.:-]+\Z", description="the name of the mail relay, such as mail.example.org"
    )
    port: int = Field(default=587, ge=1, le=65535, description="the relay's port, such as 587")
    tls: Literal["starttls", "implicit"] = Field(
        default="starttls", description="starttls (begins in the clear, as on port 587) or implicit (port 465)"
    )
    sender: str = Field(pattern=ADDRESS, description="an address, such as zads@example.org")
    recipients: tuple[str, ...] = Field(min_length=1, description="a list of addresses")
    authority: str = Field(
        default=AUTHORITY,
        description="the file, on the auditor's host, of the authorities that may have issued the relay's certificate",
    )
    user: str = Field(default="", description="the name by which the relay knows us, if it asks for one")
    password: str = Field(default="", description="the password of that name")


class Mail:
    """Sends lines about the deployment `env`, as `settings` say."""

    def __init__(self, env: str, settings: Settings) -> None:
        self._env, self._settings = env, settings

    @classmethod
    def read(cls, env: str, path: Path) -> Mail:
        """With the settings in a JSON file. Raises ZadsError that does not quote them: they may hold a password."""
        found: list[Problem] = []
        try:
            known = json.loads(wholefile.read(path))
        except ValueError:
            raise ZadsError(f"{path} is not JSON", hint="a deployment writes it from auditor_mail") from None
        settings = checked(Settings, "auditor_mail", known, found)
        if settings is None:
            wrong = ", ".join(one.variable for one in found)
            raise ZadsError(f"{path} cannot be used: {wrong}", hint="correct auditor_mail, and deploy")
        return cls(env, settings)

    def send(self, line: str) -> None:
        """Send one line. Raises MailError."""
        text = output.plain(line)
        message = EmailMessage()
        message["Subject"] = f"ZADS {self._env}: {text[:_SUBJECT]}"
        message["From"] = self._settings.sender
        message["To"] = ", ".join(self._settings.recipients)
        message.set_content(f"{text}\n")
        try:
            with self._connected() as relay:
                if self._settings.user:
                    relay.login(self._settings.user, self._settings.password)
                relay.send_message(message)
        except (OSError, smtplib.SMTPException, ValueError) as error:
            # An answer of the relay may repeat what was sent, the password among it.
            code = f" {error.smtp_code}" if isinstance(error, smtplib.SMTPResponseException) else ""
            why = str(error) if isinstance(error, OSError) and not isinstance(error, smtplib.SMTPException) else ""
            where = f"{self._settings.relay}:{self._settings.port}"
            raise MailError(output.plain(f"{where}: {type(error).__name__}{code} {why}".strip())) from error

    def _connected(self) -> smtplib.SMTP:
        """A connection in TLS, whose certificate is the relay's. Raises what `send` catches."""
        settings = self._settings
        context = ssl.create_default_context(cafile=settings.authority)
        if settings.tls == "implicit":
            return smtplib.SMTP_SSL(settings.relay, settings.port, timeout=SECONDS, context=context)
        relay = smtplib.SMTP(settings.relay, settings.port, timeout=SECONDS)
        try:
            relay.starttls(context=context)
        except BaseException:
            relay.close()
            raise
        return relay
