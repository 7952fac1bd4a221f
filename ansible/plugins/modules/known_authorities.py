#!/usr/bin/python
"""Checks that the secrets of this control machine are those of the hosts that it is about to change."""
# ruff: noqa: E402 - the order Ansible asks for: documentation, then imports

from __future__ import annotations

DOCUMENTATION = r"""
module: known_authorities
short_description: Refuse secrets that are not those of the site
description:
  - Runs on the control machine before anything is made, and changes nothing. Without it, a machine that has lost its
    secrets would make new ones, and a deployment would write these to hosts that work with the old ones.
  - A host's facts contain the authorities that it knows. A host that knows none is new and no problem.
  - While an authority is changed, hosts know two and so does the file. The first certificate of the file issues, so
    each host must know that one.
options:
  directory: {description: Where the secrets are kept, type: path, required: true}
  hosts:
    description: The hosts that were asked.
    type: list
    elements: dict
    required: true
    suboptions:
      name: {description: Its inventory name, type: str, required: true}
      site: {description: Its site; empty for a host without one, type: str, default: ""}
      authorities:
        description: SHA-256 of each certificate in a file of authorities, by the file's path.
        type: dict
        default: {}
  groups: {description: Ansible's groups, type: dict, required: true}
  replace:
    description: Give hosts the secrets of this machine even if they use others.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Refuse secrets that are not the site's
  known_authorities:
    directory: "{{ zads_state }}/secrets"
    hosts: [{name: origin-1, authorities: {/etc/kafka/tls/ca.pem: [5f1b]}}]
    groups: "{{ groups }}"
"""

RETURN = r"""
problems: {description: Why the secrets are refused, returned: failure, type: list, elements: str}
"""

from collections import defaultdict
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.certificate_text import fingerprints

#: The authority that each file of a program holds; a name without a site stands for the authority of the host's site.
#: Filter workers are left out: the brokers of the site know the same authorities.
FILES = {
    "kafka": {"/etc/kafka/tls/ca.pem": "kafka-ca", "/etc/kafka/tls/zookeeper-ca.pem": "zookeeper-ca"},
    "zookeeper": {"/etc/zookeeper/tls/ca.pem": "zookeeper-ca"},
    "producers": {"/etc/zads/producer/ca.crt": "origin/kafka-ca"},
    "mirrors": {
        "/etc/zads/mirrormaker/origin-ca.crt": "origin/kafka-ca",
        "/etc/zads/mirrormaker/public-ca.crt": "public/kafka-ca",
        "/etc/zads/mirrormaker/rest-ca.crt": "mirrors/ca",
    },
    "monitors": {"/etc/zads/prometheus/load/ca.crt": "monitoring/ca"},
    "auditors": {
        "/etc/zads/auditor/origin/ca.crt": "origin/kafka-ca",
        "/etc/zads/auditor/public/ca.crt": "public/kafka-ca",
    },
    "log_collectors": {"/etc/zads/journal/ca.crt": "logs/ca"},
}
SITES = ("origin", "public")

Known = dict[str, dict[tuple[str, ...], list[str]]]
"""Authority -> SHA-256 of each certificate in a file -> the hosts that know it so."""


def known(hosts: list[dict], groups: dict[str, list[str]]) -> Known:
    """The authorities that the hosts know, by each host's present role in the inventory; other files do not count."""
    found: Known = defaultdict(lambda: defaultdict(list))
    for host in hosts:
        for group, files in FILES.items():
            for path, authority in files.items():
                if host["name"] in groups.get(group, []):
                    name = authority if "/" in authority else f"{host['site']}/{authority}"
                    if trusted := tuple(host["authorities"].get(path, [])):
                        found[name][trusted].append(host["name"])
    return found


def members(groups: dict[str, list[str]]) -> dict[str, set[str]]:
    """All authorities that the deployment needs, with the hosts that hold each."""
    needed = {}
    for site in SITES:
        needed[f"{site}/kafka-ca"] = set(groups.get(f"{site}_kafka", []))
        needed[f"{site}/zookeeper-ca"] = needed[f"{site}/kafka-ca"] | set(groups.get(f"{site}_zookeeper", []))
    if groups.get("log_collectors"):
        needed["logs/ca"] = set(groups["log_collectors"])
    if len(groups.get("mirrors", [])) > 1:
        needed["mirrors/ca"] = set(groups["mirrors"])
    if groups.get("monitors"):
        needed["monitoring/ca"] = set(groups["monitors"])
    return needed


def refusals(
    kept: dict[str, list[str]], there: Known, needed: dict[str, set[str]], asked: set[str], *, passwords: bool
) -> list[str]:
    """Why these secrets are not those of the site; empty when a deployment may go on.

    ``kept``: SHA-256 of the certificates in each file that this machine has; ``passwords``: whether it has them too.
    """
    problems = []
    for authority, holders in sorted(there.items()):
        for trusted, hosts in sorted(holders.items()):
            if not {*kept.get(authority, [])[:1]} & {*trusted}:
                has = "is another one" if authority in kept else "is missing"
                problems.append(f"{authority}.crt {has}: {_listed(hosts)} know {_short(trusted[0])}")
    for authority, hosts in sorted(needed.items()):
        if authority not in kept and authority not in there and (others := hosts - asked):
            problems.append(
                f"{authority}.crt is missing, and {_listed(sorted(others))} were not asked: "
                "a new one is made only in a deployment to all hosts, without LIMIT"
            )
    if there and not passwords:
        problems.append("passwords.yml is missing: everybody would get another password")
    return problems


def _listed(hosts: list[str]) -> str:
    names = list(dict.fromkeys(hosts))
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _short(fingerprint: str) -> str:
    """The first bytes of a fingerprint in the form of `openssl x509 -fingerprint -sha256`."""
    return ":".join(fingerprint[at : at + 2].upper() for at in range(0, 16, 2)) + ":..."


def main() -> None:
    host = {
        "name": {"type": "str", "required": True},
        "site": {"type": "str", "default": ""},
        "authorities": {"type": "dict", "default": {}},
    }
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "hosts": {"type": "list", "elements": "dict", "required": True, "options": host},
            "groups": {"type": "dict", "required": True},
            "replace": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    params, directory = module.params, Path(module.params["directory"])
    needed = members(params["groups"])
    files = {authority: directory / f"{authority}.crt" for authority in needed}
    kept = {authority: fingerprints(path.read_text()) for authority, path in files.items() if path.exists()}
    asked = {one["name"] for one in params["hosts"]}
    problems = refusals(
        kept, known(params["hosts"], params["groups"]), needed, asked, passwords=(directory / "passwords.yml").exists()
    )
    if problems and not params["replace"]:
        lines = "\n".join(f"{directory}/{problem}" for problem in problems)
        module.fail_json(
            msg=f"These are not the secrets of the hosts, and nothing was changed:\n{lines}\n"
            f"Restore {directory} from its backup: docs/runbooks/lost-control-machine.md says how.",
            problems=problems,
        )
    module.exit_json(changed=False)


if __name__ == "__main__":
    main()
