#!/usr/bin/python
"""Gives a member of an ensemble that has lost its data those of a copy."""
# ruff: noqa: E402 - the order Ansible asks for: documentation, then imports

from __future__ import annotations

DOCUMENTATION = r"""
module: ensemble_data
short_description: Gives a member of an ensemble that has lost its data those of a copy
description:
  - Runs on a member's host, while the member is stopped. Every member of the ensemble must get the same copy, since
    members without data could elect one of themselves.
  - Writes the directory C(version-2) with the owner of O(data); it has its name only when it is whole.
options:
  data: {description: The member's data directory, type: path, required: true}
  archive: {description: "What C(ensemble_copy) has returned", type: str, required: true}
  replace:
    description: Put the copy in the place of data that are there. These are kept beside it.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Write the member's data
  ensemble_data: {data: /var/lib/zookeeper, archive: "{{ copied.archive }}"}
  no_log: true
"""

RETURN = r"""
files: {description: Their names, returned: success, type: list, elements: str}
kept: {description: Where the data are that were there, returned: when some were there, type: str}
"""

import base64
import io
import os
import re
import shutil
import tarfile
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DIRECTORY = "version-2"
#: The archive may come from a place that others can write to.
NAME = re.compile(rf"{DIRECTORY}/((?:snapshot|log)\.[0-9a-f]{{1,16}}|(?:current|accepted)Epoch)")


def files(archive: bytes) -> dict[str, bytes]:
    """The files of a copy by their names. Raises ValueError for anything else."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        for member in tar:
            match = NAME.fullmatch(member.name)
            if match is None or not member.isreg():
                raise ValueError(f"{member.name!r} is no file of an ensemble's data")
            found[match[1]] = tar.extractfile(member).read()
    if not any(name.startswith("snapshot.") for name in found):
        raise ValueError("there is no snapshot in it")
    return found


def present(directory: Path) -> bool:
    """Whether a directory has data of a member."""
    return any(path.name.startswith(("snapshot.", "log.")) for path in directory.glob("*"))


def put(data: Path, found: dict[str, bytes], now: float) -> str:
    """Write the files. Returns where the data are that were there, or ""."""
    owner, part, target = data.stat(), data / f".{DIRECTORY}.part", data / DIRECTORY
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(mode=0o750)
    for name, content in found.items():
        with os.fdopen(os.open(part / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
    os.chown(part, owner.st_uid, owner.st_gid)
    kept = data / f"{DIRECTORY}.before-{int(now)}"
    if present(target):
        target.rename(kept)
    else:
        shutil.rmtree(target, ignore_errors=True)
    part.rename(target)
    return str(kept) if kept.exists() else ""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "data": {"type": "path", "required": True},
            "archive": {"type": "str", "required": True, "no_log": True},
            "replace": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    data = Path(module.params["data"])
    try:
        found = files(base64.b64decode(module.params["archive"], validate=True))
        if present(data / DIRECTORY) and not module.params["replace"]:
            module.fail_json(
                msg=f"this member has data in {data / DIRECTORY}, which are newer than those of a backup: it starts "
                "with them, and others get them from it (make replace). -e ensemble_replace=true puts them aside"
            )
        kept = "" if module.check_mode else put(data, found, time.time())
    except (OSError, ValueError, tarfile.TarError, EOFError) as error:
        module.fail_json(msg=f"the member's data cannot be written: {error}")
    module.exit_json(changed=True, files=sorted(found), **({"kept": kept} if kept else {}))


if __name__ == "__main__":
    main()
