"""The results of audits as a host's files have them, for `make verify`."""

from __future__ import annotations

import base64
import json

DOCUMENTATION = """
name: audits
short_description: What the last audit of each night found
options:
  _input: {description: The contents of the results' files (base64), type: list, elements: str, required: true}
"""

EXAMPLES = """
found: "{{ files.results | map(attribute='content') | audits }}"
"""

RETURN = """
_value: {description: "Of each night, the oldest first, its C(line) and whether it is C(whole)", type: list}
"""


def audits(contents):
    """The line of each result, and whether its night is whole. A file that is no result is not whole."""
    from zads.auditor.results import Result  # heavy, and Ansible loads this file in each of its workers

    found = []
    for content in contents:
        try:
            one = Result.of(json.loads(base64.b64decode(content)))
            found.append((one.night, {"line": one.line, "whole": one.status == "whole"}))
        except (ValueError, TypeError, KeyError, AttributeError):
            found.append(("", {"line": "the result of an audit cannot be read", "whole": False}))
    return [one for _, one in sorted(found, key=lambda pair: pair[0])]


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        return {"audits": audits}
