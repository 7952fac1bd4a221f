#!/usr/bin/python
"""Sets all SCRAM accounts of a site."""
# ruff: noqa: E402 - the order Ansible asks for: documentation, then imports

from __future__ import annotations

DOCUMENTATION = r"""
module: kafka_users
short_description: Make a cluster's SCRAM accounts exactly these
description:
  - Runs on the control machine. Users who are not named lose their accounts, since only the data decide on access.
  - A cluster reveals the mechanism and the iterations of an account, but never its password. So a digest of the
    password that was set last is kept, made with the file's own random salt and bound to this cluster. An account is
    set again if its password, its iterations or the cluster has changed, or if the account is missing.
options:
  client: {description: Properties file of the site's administrator, type: path, required: true}
  users: {description: Passwords by user, type: dict, required: true}
  remembered: {description: File that holds the digests; only its owner can read it, type: path, required: true}
  iterations: {description: Rounds of hashing, type: int, default: 8192}
"""

EXAMPLES = r"""
- name: Two accounts
  kafka_users:
    client: .zads/local/clients/admin-public.properties
    users: {reader: "{{ a }}", alice: "{{ b }}"}
    remembered: .zads/local/secrets/public/accounts.json
"""

RETURN = r"""
set: {description: Accounts created or given another password, returned: success, type: list, elements: str}
removed: {description: Accounts removed, returned: success, type: list, elements: str}
"""

import hashlib
import hmac
import json
import secrets
from pathlib import Path

from ansible.module_utils.kafka_site import ANSWER, ansible_diff, run, site_module
from ansible.module_utils.whole_file import replace
from confluent_kafka.admin import (
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)

from zads.errors import ZadsError
from zads.site import accounts

MECHANISM = "SCRAM-SHA-512"
ITERATIONS = (4096, 16384)  # the bounds that Kafka sets


class Memory:
    """Digests of the passwords that were set last, by user; they are valid for one cluster only."""

    def __init__(self, path: Path, cluster: str) -> None:
        self.path, self.cluster = path, cluster
        there = self._read()
        self.salt = bytes.fromhex(there["salt"]) if there else secrets.token_bytes(32)
        self.digests: dict[str, str] = there["digests"] if there else {}

    def _read(self) -> dict:
        try:
            there = json.loads(self.path.read_text())
            bytes.fromhex(there["salt"])
            return there if there["cluster"] == self.cluster and isinstance(there["digests"], dict) else {}
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return {}  # nothing is known, and every account is set again

    def digest(self, user: str, password: str) -> str:
        """The digest of a password; slow on purpose, so that a stolen file does not reveal weak passwords."""
        salt = self.salt + f"{self.cluster}/{user}".encode()
        return hashlib.scrypt(password.encode(), salt=salt, n=2**13, r=8, p=1).hex()

    def knows(self, user: str, password: str) -> bool:
        return user in self.digests and hmac.compare_digest(self.digests[user], self.digest(user, password))

    def write(self) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        content = {"cluster": self.cluster, "salt": self.salt.hex(), "digests": self.digests}
        replace(self.path, json.dumps(content, indent=1).encode())


def changes(wanted: dict[str, str], present: dict[str, dict[str, int]], memory: Memory, iterations: int):
    """Users to set, and (user, mechanism) to delete. ``present``: user -> mechanism -> iterations."""
    to_set = [
        user
        for user, password in sorted(wanted.items())
        if present.get(user, {}).get(MECHANISM) != iterations or not memory.knows(user, password)
    ]
    to_delete = [
        (user, mechanism)
        for user, mechanisms in sorted(present.items())
        for mechanism in sorted(mechanisms)
        if user not in wanted or mechanism != MECHANISM
    ]
    return to_set, to_delete


def alter(site, wanted: dict[str, str], to_set: list[str], to_delete: list[tuple[str, str]], iterations: int) -> None:
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, iterations)
    alterations = [UserScramCredentialUpsertion(user, info, wanted[user].encode()) for user in to_set]
    alterations += [
        UserScramCredentialDeletion(user, ScramMechanism[mechanism.replace("-", "_")]) for user, mechanism in to_delete
    ]
    site.settle(site.client.alter_user_scram_credentials(alterations, request_timeout=ANSWER))


def main() -> None:
    module = site_module(
        users={"type": "dict", "required": True, "no_log": True},
        remembered={"type": "path", "required": True},
        iterations={"type": "int", "default": 8192},
    )
    wanted = {str(user): password for user, password in module.params["users"].items()}
    iterations = module.params["iterations"]

    def work(site) -> dict:
        if empty := [user for user, password in wanted.items() if not isinstance(password, str) or not password]:
            raise ZadsError(f"no password for {', '.join(empty)}")
        if not ITERATIONS[0] <= iterations <= ITERATIONS[1]:
            raise ZadsError(f"iterations must lie between {ITERATIONS[0]} and {ITERATIONS[1]}")
        memory = Memory(Path(module.params["remembered"]), site.metadata().cluster_id)
        present = accounts.present(site.client)
        to_set, to_delete = changes(wanted, present, memory, iterations)
        if not module.check_mode and (to_set or to_delete):
            alter(site, wanted, to_set, to_delete, iterations)
            memory.digests = {user: memory.digest(user, password) for user, password in wanted.items()}
            memory.write()
        before = [f"{user} (set before)" for user in to_set if user in present]
        return {
            "changed": bool(to_set or to_delete),
            "set": to_set,
            "removed": sorted({user for user, _ in to_delete if user not in wanted}),
            "diff": ansible_diff(
                before + [f"{u} {m}" for u, m in to_delete], [f"{user} {MECHANISM}" for user in to_set]
            ),
        }

    run(module, work)


if __name__ == "__main__":
    main()
