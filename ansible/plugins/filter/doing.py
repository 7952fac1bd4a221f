"""What the hosts of a site's brokers report of them."""

from __future__ import annotations

DOCUMENTATION = """
name: doing
short_description: What brokers that do not answer are doing, by their numbers
description:
  - The filter C(now_doing) writes the same as the end of a sentence.
options:
  _input: {description: Answers of the module broker_condition, type: list, elements: dict, required: true}
  hostvars: {description: The hosts' variables, type: dict, required: true}
"""

EXAMPLES = """
doing: "{{ asked.results | doing(hostvars) }}"
refusal: "broker 1 may not go down{{ asked.results | doing(hostvars) | now_doing }}"
"""

RETURN = """
_value: {description: What each broker does by its number; brokers that answer are left out, type: dict}
"""


def doing(results, hostvars):
    """What each broker that does not answer is doing, by its number."""
    found = {}
    for result in results:
        what = "its host does not answer" if result.get("unreachable") else result.get("doing")
        if what:
            found[str(hostvars[result["item"]]["node_id"])] = what
    return found


def now_doing(brokers):
    """The end of a sentence, such as ``; now broker 3 starts``. Empty if every broker answers."""
    return "".join(f"; now broker {number}: {what}" for number, what in sorted(brokers.items()))


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        return {"doing": doing, "now_doing": now_doing}
