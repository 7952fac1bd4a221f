"""Hashes of the passwords that web servers ask for: bcrypt, which nginx, Prometheus and Alertmanager know.

A hash begins with a random salt, so each is made once and kept: else a deployment would change it in every run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import bcrypt

from zads import wholefile

#: Powers of two. A front is asked many times a minute and remembers no hash that it has computed, so it has the least:
#: a millisecond. That is safe for a password that nobody can guess; LEAST_LENGTH demands such a one.
FRONT_COST = 4
PAGE_COST = 12
#: Characters of a password with FRONT_COST, if it is given; those that are made have 32.
LEAST_LENGTH = 20
_MOST_BYTES = 72  # bcrypt reads no more of a password


def keep(path: Path, passwords: Mapping[str, str], costs: Mapping[str, int], *, check: bool) -> list[str]:
    """Make the file hold a hash (JSON, by user) of each password with a cost, and no other. With ``check`` nothing
    is written. Returns the users whose hashes were made or, in a check, would be."""
    there: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    wanted = {user: there.get(user, "") for user in sorted(costs) if user in passwords}
    new = [user for user, hash_ in wanted.items() if not _fits(hash_, passwords[user], costs[user])]
    if new or wanted.keys() != there.keys():
        wanted |= {user: _hash(passwords[user], costs[user]) for user in new}
        if not check:
            wholefile.write_private(path, (json.dumps(wanted, indent=1) + "\n").encode())
    return new


def problems(passwords: Mapping[str, str], costs: Mapping[str, int]) -> Sequence[str]:
    """Why given passwords cannot be hashed."""
    found = []
    for user in sorted(costs.keys() & passwords.keys()):
        size = len(passwords[user].encode())
        if size > _MOST_BYTES:
            found.append(f"the password of {user} has {size} bytes, and web servers read {_MOST_BYTES}")
        if costs[user] == FRONT_COST and len(passwords[user]) < LEAST_LENGTH:
            found.append(f"the password of {user} has fewer than {LEAST_LENGTH} characters: only programs need it")
    return found


def _hash(password: str, cost: int) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost, prefix=b"2b")).decode()


def _fits(hash_: str, password: str, cost: int) -> bool:
    """Whether this is a hash of the password, of this cost."""
    return hash_.startswith(f"$2b${cost:02d}$") and bcrypt.checkpw(password.encode(), hash_.encode())
