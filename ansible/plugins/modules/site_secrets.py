#!/usr/bin/python
"""Makes or checks all certificates and passwords of a deployment, on the control machine."""
# ruff: noqa: E402 - the order Ansible asks for: documentation, then imports

from __future__ import annotations

DOCUMENTATION = r"""
module: site_secrets
short_description: Authorities, certificates and passwords of every site
description:
  - Runs on the control machine, once for all hosts. C(zads.site.secrets) and C(zads.site.certificates) do the work.
  - A certificate is made again when it is missing, when its names or its authority differ, or when it expires soon.
  - Every run warns of secrets that expire soon.
  - With O(source=given) nothing is made, and each missing or wrong secret is an error that names the file. In this case
    the key of an authority may be absent, and a certificate may have more names than it needs.
options:
  directory: {description: Where the secrets are kept, type: path, required: true}
  clients: {description: Where client configurations are kept, type: path, required: true}
  hosts:
    description: Every host that needs certificates.
    type: list
    elements: dict
    required: true
    suboptions:
      name: {description: Its inventory name and certificate name, type: str, required: true}
      site: {description: Its site, type: str, required: true}
      kafka: {description: Whether it is a broker, type: bool, default: false}
      names: {description: Names and addresses that reach it, type: list, elements: str, default: []}
      bootstrap: {description: Address of the listener for brokers, type: str, default: ""}
  mirrors:
    description: Hosts whose mirrors speak to each other, when there are several. They share an authority of their own.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: Its inventory name and certificate name, type: str, required: true}
      names: {description: Names and addresses that reach it, type: list, elements: str, default: []}
  archives:
    description: Hosts that serve archives. They share an authority of their own.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: Its inventory name and certificate name, type: str, required: true}
      names: {description: Names and addresses that reach it, type: list, elements: str, default: []}
  logging:
    description: Hosts that send their journals or take those of others. They share an authority of their own.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: Its inventory name and certificate name, type: str, required: true}
      names: {description: Names and addresses that reach it, type: list, elements: str, default: []}
  boards:
    description: Hosts that serve a board to browsers. They have an authority of their own.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: Its inventory name and certificate name, type: str, required: true}
      names: {description: Names and addresses that reach it, type: list, elements: str, default: []}
  monitored:
    description: Hosts that tell metrics. They and the monitors share an authority of their own.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: Its inventory name and certificate name, type: str, required: true}
      names: {description: Names and addresses that reach it, type: list, elements: str, default: []}
      monitor: {description: Whether it collects metrics and shows them, type: bool, default: false}
  hashed:
    description:
      - Users whose passwords web servers ask for, and the cost of each one's bcrypt hash. The hashes are kept in
        C(monitoring/hashes.json).
    type: dict
    default: {}
  passwords: {description: Users and programs that need a password, type: list, elements: str, default: []}
  source: {description: Whether to make secrets, type: str, choices: [generated, given], default: generated}
  renew_days: {description: A certificate with fewer days left is made again, type: int, default: 30}
  anew:
    description: Patterns of certificates that are made again although they are good, such as V(public/*).
    type: list
    elements: str
    default: []
  anew_passwords:
    description:
      - Patterns of users and programs that get another password. Until C(passwords-before.yml) is removed, which holds
        the former ones, a further run continues this change and makes no newer passwords.
    type: list
    elements: str
    default: []
  authority_days: {description: Warn of an authority with fewer days left, type: int, default: 365}
  critical_days: {description: A secret with fewer days left is in RV(critical), type: int, default: 21}
  password_days: {description: "Warn of a password that is older; 0 for never", type: int, default: 730}
"""

EXAMPLES = r"""
- name: Make what is missing
  site_secrets:
    directory: "{{ zads_state }}/secrets"
    clients: "{{ zads_state }}/clients"
    hosts: [{name: origin-1, site: origin, kafka: true, names: [192.0.2.1], bootstrap: "192.0.2.1:9093"}]
    passwords: [reader, producer]
"""

RETURN = r"""
renewed: {description: Certificates and passwords made again, returned: always, type: list, elements: str}
replacing:
  description: Those whose password is being replaced, also by an earlier run that was interrupted.
  returned: always
  type: list
  elements: str
created: {description: Secrets made for the first time, returned: always, type: list, elements: str}
expires: {description: Days until the first certificate or authority expires, returned: always, type: int}
nearing: {description: Warnings of secrets that expire soon, returned: always, type: list, elements: str}
critical: {description: The warnings that are failures of a verification, returned: always, type: list, elements: str}
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from zads.site.ages import Limits, report
from zads.site.secrets import (
    PASSWORD,
    Authorities,
    Changes,
    Host,
    administrator,
    passwords,
    replacing,
    web_hashes,
)


class Secrets:
    """Make all secrets of a deployment or, in check mode, compare them. ``warnings`` names those that expire soon."""

    def __init__(self, params: dict, *, check: bool):
        self.directory, self.clients = Path(params["directory"]), Path(params["clients"])
        self.hosts, self.mirrors, self.users = params["hosts"], params["mirrors"], params["passwords"]
        self.monitored, self.hashed = params["monitored"], params["hashed"]
        self.archives = params["archives"]
        self.boards = params["boards"]
        self.logging = params["logging"]
        self.given, self.check = params["source"] == "given", check
        self.changes = Changes()
        self.authorities = Authorities(
            self.directory, self.changes, given=self.given, check=check, renew_days=params["renew_days"],
            anew=params["anew"],
        )  # fmt: skip
        self.anew_passwords = params["anew_passwords"]
        self.ages: dict[str, int] = {}

    def settle(self) -> None:
        if not self.check:
            for directory in (self.directory, self.clients):
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for site in dict.fromkeys(host["site"] for host in self.hosts):
            self._site(site, [host for host in self.hosts if host["site"] == site])
        self.authorities.mirrors([Host(one["name"], one["names"]) for one in self.mirrors])
        self.authorities.archives([Host(one["name"], one["names"]) for one in self.archives])
        told = [(Host(one["name"], one["names"]), one["monitor"]) for one in self.monitored]
        self.authorities.monitoring([host for host, _ in told], [host for host, monitor in told if monitor])
        self.authorities.boards([Host(one["name"], one["names"]) for one in self.boards])
        self.authorities.logs([Host(one["name"], one["names"]) for one in self.logging])
        path = self.directory / "passwords.yml"
        self.ages = passwords(
            path, self.users, self.changes, given=self.given, check=self.check, anew=self.anew_passwords
        )
        web_hashes(self.directory, self.hashed, self.changes, check=self.check)

    def _site(self, site: str, hosts: list[dict]) -> None:
        self.authorities.site(site, [Host(one["name"], one["names"], site, one["kafka"]) for one in hosts])
        brokers = [one["bootstrap"] for one in hosts if one["bootstrap"]]
        path = self.clients / f"admin-{site}.properties"
        administrator(path, site, brokers, self.directory / site, self.changes, check=self.check)

    def nearing(self, limits: Limits) -> tuple[list[str], list[str]]:
        """The warnings, and which of them are failures."""
        return report(self.authorities.ends, self.ages, limits)

    def replacing(self) -> list[str]:
        """The users whose password is being replaced. A check has not noted those whom it would replace."""
        marked = [name.removeprefix(PASSWORD) for name in self.changes.renewed if name.startswith(PASSWORD)]
        return sorted({*marked, *replacing(self.directory / "passwords.yml")} & set(self.users))

    def result(self) -> dict:
        changes = self.changes
        before = [f"{name} ({why})" for name, why in changes.renewed.items()] + changes.removed
        after = changes.created + changes.written + [f"{name} (new)" for name in changes.renewed]
        return {
            "changed": bool(before or after),
            "renewed": list(changes.renewed),
            "replacing": self.replacing(),
            "created": changes.created,
            "expires": min((one.days for one in self.authorities.ends), default=0),
            "diff": {"before": "".join(f"{x}\n" for x in before), "after": "".join(f"{x}\n" for x in after)},
        }


def main() -> None:
    host = {
        "name": {"type": "str", "required": True},
        "site": {"type": "str", "required": True},
        "kafka": {"type": "bool", "default": False},
        "names": {"type": "list", "elements": "str", "default": []},
        "bootstrap": {"type": "str", "default": ""},
    }
    named = {"name": {"type": "str", "required": True}, "names": {"type": "list", "elements": "str", "default": []}}
    monitored = {**named, "monitor": {"type": "bool", "default": False}}
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "clients": {"type": "path", "required": True},
            "hosts": {"type": "list", "elements": "dict", "required": True, "options": host},
            "mirrors": {"type": "list", "elements": "dict", "default": [], "options": named},
            "archives": {"type": "list", "elements": "dict", "default": [], "options": named},
            "monitored": {"type": "list", "elements": "dict", "default": [], "options": monitored},
            "hashed": {"type": "dict", "default": {}},
            "boards": {"type": "list", "elements": "dict", "default": [], "options": named},
            "logging": {"type": "list", "elements": "dict", "default": [], "options": named},
            "passwords": {"type": "list", "elements": "str", "default": [], "no_log": False},
            "source": {"type": "str", "choices": ["generated", "given"], "default": "generated"},
            "renew_days": {"type": "int", "default": 30},
            "anew": {"type": "list", "elements": "str", "default": []},
            "anew_passwords": {"type": "list", "elements": "str", "default": [], "no_log": False},
            "authority_days": {"type": "int", "default": 365},
            "critical_days": {"type": "int", "default": 21},
            "password_days": {"type": "int", "default": 730, "no_log": False},
        },
        supports_check_mode=True,
    )
    state = Secrets(module.params, check=module.check_mode)
    state.settle()
    if problems := state.changes.problems:
        module.fail_json(msg="; ".join(problems))
    days = module.params
    limits = Limits(days["authority_days"], days["renew_days"], days["critical_days"], days["password_days"])
    nearing, critical = state.nearing(limits)
    for line in nearing:
        module.warn(f"{line} ({state.directory})")
    module.exit_json(**state.result(), nearing=nearing, critical=critical)


if __name__ == "__main__":
    main()
