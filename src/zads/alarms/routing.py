"""Who hears of an alarm: Alertmanager's configuration from the inventory's variables.

`alarms_to` is a list of people or services. Each has a name, the severities that it gets, and one way: an address for
mail, or the URL of a webhook. Passwords and tokens are in `alarms_secrets` by the name of their owner; they are written
into files of their own, which the configuration names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from zads.alarms.alarm import Severity
from zads.alarms.catalogue import QUIET, WATCHDOG
from zads.site.entry import Entry, Problem, checked, named
from zads.site.policy import PolicyError

#: The entry of `alarms_secrets` for the mail relay.
RELAY = "mail"
_ADDRESS = re.compile(r"\A[^@\s,;<>]+@[^@\s,;<>]+\.[^@\s,;<>]+\Z")
_URL = re.compile(r"https?://[^\s]+")
_WAYS = "mail: ADDRESS, or webhook: URL"


class Mail(Entry):
    """The relay that takes mail."""

    relay: str = Field(pattern=r"\A[^\s:/]+:[0-9]+\Z", description="HOST:PORT")
    sender: str = Field(pattern=_ADDRESS.pattern, description="an address, such as zads@example.org")
    user: str = Field(default="", description="the name with which to log in")


class Receiver(Entry):
    """Somebody who hears of alarms. ``watchdog``: gets the dead man's switch, once a minute, and nothing else."""

    name: str = Field(pattern=r"\A[a-z][a-z0-9-]{0,40}\Z", description="small letters, digits and -")
    severities: frozenset[Literal["page", "ticket", "watchdog"]] = Field(
        default=frozenset({"page", "ticket"}), description="[page], [ticket], [page, ticket] or [watchdog]"
    )
    mail: str = Field(default="", description="an address")
    webhook: str = Field(default="", description="a URL")


@dataclass(frozen=True)
class Routing:
    """Alertmanager's configuration, and the secret files that it names, by file name."""

    config: dict[str, Any]
    secrets: dict[str, str]


def routing(variables: Mapping[str, Any], directory: str) -> Routing:
    """From the variables `alarms_to`, `alarms_mail` and `alarms_secrets`. ``directory``: where the secret files are.

    Raises PolicyError with every problem.
    """
    found: list[Problem] = []
    receivers = [one for _, one in named(Receiver, "alarms_to", variables.get("alarms_to"), found) if one is not None]
    wanted = variables.get("alarms_mail")
    mail = checked(Mail, "alarms_mail", wanted, found) if wanted else None
    given = variables.get("alarms_secrets") or {}
    if not isinstance(given, Mapping):  # it is not repeated: it may be a secret
        found.append(Problem("alarms_secrets", "cannot be used: write {NAME: SECRET}, with names of alarms_to"))
        given = {}
    secrets = {str(name): str(value) for name, value in given.items()}
    found += _problems(receivers, mail, secrets, said=bool(wanted))
    if found:
        raise PolicyError(found)
    used = {name: value for name, value in secrets.items() if name in {RELAY, *(one.name for one in receivers)}}
    config: dict[str, Any] = {
        **({"global": _global(mail, used, directory)} if mail else {}),
        "route": {
            "receiver": "nobody",
            "group_by": ["alertname", "site"],
            "group_wait": "10s",
            "group_interval": "1m",
            "repeat_interval": "4h",
            "routes": _routes(receivers),
        },
        "inhibit_rules": inhibitions(),
        "receivers": [{"name": "nobody"}, *(_receiver(one, used, directory) for one in receivers)],
    }
    return Routing(config, {f"{name}.secret": value for name, value in used.items()})


def inhibitions() -> list[dict[str, Any]]:
    """What is not sent while something else rings."""
    return [
        {
            "source_matchers": [f'alertname="{one.loud}"'],
            "target_matchers": [f'alertname=~"{"|".join(one.silent)}"'],
            **({"equal": list(one.equal)} if one.equal else {}),
        }
        for one in QUIET
    ]


def _problems(receivers: list[Receiver], mail: Mail | None, secrets: Mapping[str, str], *, said: bool) -> list[Problem]:
    found = []
    for one in receivers:
        place = f"alarms_to.{one.name}"
        if bool(one.mail) == bool(one.webhook):
            found.append(Problem(place, f"has {'both ways' if one.mail else 'no way'}: write {_WAYS}"))
        if one.mail and not _ADDRESS.fullmatch(one.mail):
            found.append(Problem(f"{place}.mail", f"{one.mail!r} is no address: write one, such as night@example.org"))
        if one.webhook and not _URL.fullmatch(one.webhook):
            found.append(Problem(f"{place}.webhook", f"{one.webhook!r} is no URL: write one that begins with https://"))
        if not one.severities or ("watchdog" in one.severities and len(one.severities) > 1):
            found.append(Problem(f"{place}.severities", "write [page], [ticket], [page, ticket] or [watchdog]"))
        if one.mail and mail is None and not said:
            found.append(
                Problem(
                    "alarms_mail", f"is missing, and {one.name} gets mail: write {{relay: HOST:PORT, sender: ADDRESS}}"
                )
            )
    for name in sorted(set(secrets) - {RELAY, *(one.name for one in receivers)}):
        found.append(
            Problem(f"alarms_secrets.{name}", f"belongs to nobody in alarms_to: write one of them, or {RELAY}")
        )
    return found


def _global(mail: Mail, secrets: Mapping[str, str], directory: str) -> dict[str, Any]:
    login = {"smtp_auth_username": mail.user} if mail.user else {}
    if RELAY in secrets:
        login["smtp_auth_password_file"] = f"{directory}/{RELAY}.secret"
    return {"smtp_smarthost": mail.relay, "smtp_from": mail.sender, "smtp_require_tls": True, **login}


def _routes(receivers: list[Receiver]) -> list[dict[str, Any]]:
    """The dead man's switch first, which goes to nobody else; then each receiver by what it gets."""
    switch = f'alertname="{WATCHDOG}"'
    often = {"group_wait": "0s", "group_interval": "1m", "repeat_interval": "1m"}
    watchdogs = [
        {"matchers": [switch], "receiver": one.name, "continue": True, **often}
        for one in receivers
        if "watchdog" in one.severities
    ]
    paces: dict[Severity, dict[str, str]] = {
        "page": {"repeat_interval": "1h"},
        "ticket": {"group_wait": "5m", "repeat_interval": "1d"},
    }
    others = [
        {"matchers": [f'severity="{severity}"'], "receiver": one.name, "continue": True, **pace}
        for severity, pace in paces.items()
        for one in receivers
        if severity in one.severities
    ]
    return [*watchdogs, {"matchers": [switch], "receiver": "nobody"}, *others]


def _receiver(one: Receiver, secrets: Mapping[str, str], directory: str) -> dict[str, Any]:
    resolved = {"send_resolved": "watchdog" not in one.severities}
    if one.mail:
        return {"name": one.name, "email_configs": [{"to": one.mail, **resolved}]}
    token = {"http_config": {"authorization": {"credentials_file": f"{directory}/{one.name}.secret"}}}
    config = {"url": one.webhook, **resolved, "max_alerts": 50, **(token if one.name in secrets else {})}
    return {"name": one.name, "webhook_configs": [config]}
