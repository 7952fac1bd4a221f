"""Values that roles derive from the facts of hosts (module host_facts)."""

from __future__ import annotations

DOCUMENTATION = """
name: users_to_make
short_description: The users that a host lacks, and the authorities that hosts know
description:
  - C(users_to_make) keeps the names of users that a host lacks or has with another home or shell.
  - C(host_authorities) gives each host in the form that M(known_authorities) and M(authority_change) expect.
options:
  _input: {description: "Names of users, or variables of hosts", type: list, elements: raw, required: true}
  accounts: {description: "C(getent_passwd) of the host, for C(users_to_make)", type: dict}
  home: {description: "Directory in which each user's home is, for C(users_to_make)", type: str}
  shell: {description: "Shell of each user, for C(users_to_make)", type: str}
"""

EXAMPLES = """
missing: "{{ ['kafka'] | users_to_make(ansible_facts.getent_passwd, '/var/lib', '/usr/sbin/nologin') }}"
hosts: "{{ ansible_play_hosts_all | map('extract', hostvars) | host_authorities }}"
"""

RETURN = """
_value: {description: "Names of users, or a dictionary of each host", type: list, elements: raw}
"""


def users_to_make(users, accounts, home, shell):
    """The users that the host lacks, or has with another home or shell. An account is ``[x, number, group, comment,
    home, shell]``."""
    return [user for user in users if list(accounts.get(user, []))[4:] != [f"{home}/{user}", shell]]


def host_authorities(hosts):
    """Name, site and known certificates of each host; none for a host whose facts have not been read."""
    return [
        {
            "name": host["inventory_hostname"],
            "site": host.get("site", ""),
            "authorities": host.get("ansible_facts", {}).get("host_facts", {}).get("certificates", {}),
        }
        for host in hosts
    ]


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        return {"host_authorities": host_authorities, "users_to_make": users_to_make}
