"""Names of the system's own programs and brokers, and of the topics that the mirror copies."""

from __future__ import annotations

from zads import names

DOCUMENTATION = """
name: program
short_description: The name of one of the system's own programs or brokers, which no user can have
description:
  - The filter C(accounts) gives the accounts of the programs that a deployment with these groups of hosts has.
  - The filter C(mirrored_topics) turns programmes into the expression of the topics that may leave the origin.
  - The filter C(public_programmes) turns them into the numbers of those that may be at the public site.
options:
  _input: {description: "A program, a group of filters or a broker's host", type: str, required: true}
  kind: {description: "filter or broker; omitted for the producer, the mirror and the administrator", type: str}
"""

EXAMPLES = """
account: "{{ 'producer' | program }}"
workers: "{{ filter_groups.keys() | map('program', 'filter') }}"
mirrored: "{{ programmes | mirrored_topics }}"
"""

RETURN = """
_value: {description: "zads.NAME or zads.KIND.NAME", type: str}
"""


def program(name, *kind):
    """``zads.KIND.NAME``."""
    return names.program(*kind, name)


def public_programmes(programmes):
    """The numbers of the programmes that the data policy (``programmes``) allows at the public site."""
    return sorted(int(number) for number, one in programmes.items() if "public" in one["sites"])


def mirrored_topics(programmes):
    """The expression of the topics that the data policy (``programmes``) allows at the public site."""
    return names.mirrored_pattern(public_programmes(programmes))


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        return {
            "accounts": names.accounts,
            "program": program,
            "mirrored_topics": mirrored_topics,
            "public_programmes": public_programmes,
        }
