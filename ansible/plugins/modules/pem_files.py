#!/usr/bin/python
"""Keys and certificates on a host: all files of a component in one step."""
# ruff: noqa: E402 - the order Ansible asks for: documentation, then imports

from __future__ import annotations

DOCUMENTATION = r"""
module: pem_files
short_description: Write PEM files that only their owner reads
description: Files are replaced whole. A difference shows each certificate's name and expiry, never a key.
options:
  directory: {description: Where; made if missing, type: path, required: true}
  owner: {description: User that reads them, type: str, required: true}
  files: {description: File names and contents, type: dict, required: true}
"""

EXAMPLES = r"""
- name: The authority
  pem_files: {directory: /etc/kafka/tls, owner: kafka, files: {ca.pem: "{{ lookup('file', 'kafka-ca.crt') }}"}}
"""

RETURN = r"""
written: {description: Names of the files that changed, returned: always, type: list, elements: str}
"""

import hashlib
import os
import pwd
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule


def told(path: Path, data: bytes | None) -> str:
    """One line that tells two contents apart without showing either."""
    return "" if data is None else f"{path} sha256 {hashlib.sha256(data).hexdigest()[:16]}\n"


def present(path: Path, data: bytes, owner) -> bool:
    """Whether the file is as it should be, content, owner and mode."""
    if not path.exists() or owner is None:
        return False
    status = path.stat()
    return path.read_bytes() == data and (status.st_uid, status.st_mode & 0o777) == (owner.pw_uid, 0o400)


def write(path: Path, data: bytes, owner) -> None:
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        os.fchown(file.fileno(), owner.pw_uid, owner.pw_gid)
    part.replace(path)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "owner": {"type": "str", "required": True},
            "files": {"type": "dict", "required": True, "no_log": True},
        },
        supports_check_mode=True,
    )
    directory = Path(module.params["directory"])
    try:
        owner = pwd.getpwnam(module.params["owner"])
    except KeyError:
        owner = None
        if not module.check_mode:
            module.fail_json(msg=f"there is no user {module.params['owner']} to own {directory}")
    wanted = {directory / name: text.strip().encode() + b"\n" for name, text in module.params["files"].items()}
    wrong = {path: data for path, data in wanted.items() if not present(path, data, owner)}
    before = "".join(told(path, path.read_bytes() if path.exists() else None) for path in wrong)
    if wrong and not module.check_mode:
        if not directory.exists():
            directory.mkdir(mode=0o750, parents=True)
            os.chown(directory, 0, owner.pw_gid)
        for path, data in wrong.items():
            write(path, data, owner)
    after = "".join(told(path, data) for path, data in wrong.items())
    module.exit_json(
        changed=bool(wrong), written=sorted(path.name for path in wrong), diff={"before": before, "after": after}
    )


if __name__ == "__main__":
    main()
