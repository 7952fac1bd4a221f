"""The members of a ZooKeeper ensemble: what a new list of them changes.

Each member has the list in its file, and reads it at its start. While a new list comes to one member after the other,
two lists are in use. A majority of the one must then have a member of every majority of the other, or the ensemble
could have two leaders. That is so if the lists differ by one member.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_SERVER = re.compile(r"^server\.(\d+)=(.+):\d+:\d+\s*$", re.MULTILINE)


def members(text: str) -> dict[int, str]:
    """The number and address of each member in the text of a file ``zoo.cfg``."""
    return {int(number): address for number, address in _SERVER.findall(text)}


def differences(text: str, wanted: Mapping[int, str]) -> list[str]:
    """What a list of members (``wanted``: addresses by number) changes for a member with this file, a phrase each."""
    present = members(text)
    return [
        *(f"member {number} joins" for number in sorted(wanted.keys() - present.keys())),
        *(f"member {number} leaves" for number in sorted(present.keys() - wanted.keys())),
        *(
            f"member {number} moves from {present[number]} to {wanted[number]}"
            for number in sorted(wanted.keys() & present.keys())
            if wanted[number] != present[number]
        ),
    ]
