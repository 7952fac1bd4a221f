"""Names of the system's own programs and brokers, spelt in one place (zads.principals)."""

from __future__ import annotations

from zads import principals

DOCUMENTATION = """
name: program
short_description: The name of one of the system's own programs or brokers, which no user can have
options:
  _input: {description: "A program, a group of filters or a broker's host", type: str, required: true}
  kind: {description: "filter or broker; nothing for the producer, the mirror and the administrator", type: str}
"""

EXAMPLES = """
account: "{{ 'producer' | program }}"
workers: "{{ filter_groups.keys() | map('program', 'filter') }}"
"""

RETURN = """
_value: {description: "zads.NAME or zads.KIND.NAME", type: str}
"""


def program(name, *kind):
    """``zads.KIND.NAME``."""
    return principals.program(*kind, name)


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        return {"program": program}
