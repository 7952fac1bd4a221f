#!/usr/bin/python
# ruff: noqa: E402 - the order Ansible asks for: documentation, then imports
"""Grows a mounted file system to the size of its device."""

from __future__ import annotations

DOCUMENTATION = r"""
module: grown_filesystem
short_description: A mounted file system is as large as its device
description:
  - After a volume was enlarged, its file system still has the old size. This grows it, while programs use it.
  - Knows ext4 and XFS. Leaves all others alone, and a directory that is only a part of a file system of a container's
    host, and says so. Never makes anything smaller.
options:
  path: {description: A directory on the file system, type: path, required: true}
"""

EXAMPLES = r"""
- name: Grow the file system of the broker's log
  grown_filesystem: {path: /var/lib/kafka}
"""

RETURN = r"""
before: {description: Bytes of the file system, returned: if it can be grown, type: int}
after: {description: "Bytes of its device, which it has now", returned: if it can be grown, type: int}
said: {description: "What was done, or why nothing was", returned: always, type: str}
"""

import json
import re
from collections.abc import Callable

from ansible.module_utils.basic import AnsibleModule

#: A file system may end this many bytes before its device: it consists of whole blocks or groups of them.
REST = 16 << 20

Run = Callable[..., str]


class Unfit(Exception):
    """Why a file system is left alone."""


def mounted(run: Run, path: str) -> tuple[str, str, str]:
    """Device, kind and mount point of the file system that a directory is on. Raises Unfit."""
    listed = json.loads(run("findmnt", "--json", "--output", "SOURCE,FSTYPE,TARGET", "--target", path))
    found = listed["filesystems"][0]
    source, kind = str(found["source"]), str(found["fstype"])
    # Of a bind mount, as in a container, findmnt shows DEVICE[/DIRECTORY].
    if not re.fullmatch(r"/dev/[^\[\]]+", source):
        raise Unfit(f"{path} is on {source}, which is no device of this host")
    if kind not in SIZES:
        raise Unfit(f"{path} is on {kind}, and only {' and '.join(sorted(SIZES))} can be grown")
    return source, kind, str(found["target"])


def size_of_ext4(run: Run, device: str, _target: str) -> int:
    """Bytes of an ext4."""
    text = run("dumpe2fs", "-h", device)
    return _number(r"^Block count:\s+(\d+)", text) * _number(r"^Block size:\s+(\d+)", text)


def size_of_xfs(run: Run, _device: str, target: str) -> int:
    """Bytes of an XFS."""
    match = re.search(r"^data\s+=\s+bsize=(\d+)\s+blocks=(\d+)", run("xfs_info", target), re.M)
    if match is None:
        raise Unfit(f"xfs_info says nothing of the size of {target}")
    return int(match[1]) * int(match[2])


def _number(pattern: str, text: str) -> int:
    match = re.search(pattern, text, re.M)
    if match is None:
        raise Unfit(f"the size cannot be read: there is no {pattern}")
    return int(match[1])


SIZES: dict[str, Callable[[Run, str, str], int]] = {"ext4": size_of_ext4, "xfs": size_of_xfs}


def grow(run: Run, kind: str, device: str, target: str) -> None:
    """Grow a file system as far as its device goes."""
    if kind == "xfs":
        run("xfs_growfs", target)
    else:
        run("resize2fs", device)


def settle(run: Run, path: str, *, check: bool) -> dict:
    """Grow the file system of a directory if its device is larger. With ``check`` only say so."""
    device, kind, target = mounted(run, path)
    before, after = SIZES[kind](run, device, target), int(run("blockdev", "--getsize64", device))
    if after - before <= REST:
        return {"changed": False, "before": before, "after": after, "said": f"{path} has the whole of {device}"}
    if not check:
        grow(run, kind, device, target)
        after = SIZES[kind](run, device, target)
    said = f"{target} ({kind} on {device}) {'would grow' if check else 'has grown'} from {before} to {after} bytes"
    return {"changed": True, "before": before, "after": after, "said": said}


def main() -> None:
    module = AnsibleModule(argument_spec={"path": {"type": "path", "required": True}}, supports_check_mode=True)

    def run(*command: str) -> str:
        status, output, problem = module.run_command(list(command))
        if status:
            module.fail_json(msg=f"{command[0]} fails: {problem.strip() or output.strip()}", said="")
        return output

    path = module.params["path"]
    try:
        if module.run_command(["systemd-detect-virt", "--container", "--quiet"])[0] == 0:
            raise Unfit(f"{path} is in a container, whose disks are those of another host")
        module.exit_json(**settle(run, path, check=module.check_mode))
    except Unfit as error:
        module.exit_json(changed=False, said=f"left alone: {error}")


if __name__ == "__main__":
    main()
