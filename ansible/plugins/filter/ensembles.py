"""What a new list of members changes for an ensemble."""

from __future__ import annotations

from zads.site import ensemble

DOCUMENTATION = """
name: ensemble_differences
short_description: What a new list of members changes
options:
  _input: {description: The text of a member's zoo.cfg, type: str, required: true}
  wanted: {description: The address of each wanted member by its number, type: dict, required: true}
"""

EXAMPLES = """
changes: "{{ text | ensemble_differences({1: '192.0.2.1', 2: '192.0.2.2', 3: '192.0.2.3'}) }}"
"""

RETURN = """
_value: {description: A phrase for each member that joins, leaves or moves, type: list, elements: str}
"""


def differences(text, wanted):
    """A phrase for each member that joins, leaves or moves."""
    return ensemble.differences(text, {int(number): str(address) for number, address in wanted.items()})


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        return {"ensemble_differences": differences}
