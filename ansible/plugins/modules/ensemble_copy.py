#!/usr/bin/python
"""A consistent copy of the data of an ensemble's member, taken while it runs."""
# ruff: noqa: E402 - the order Ansible asks for: documentation, then imports

from __future__ import annotations

DOCUMENTATION = r"""
module: ensemble_copy
short_description: A consistent copy of the data of an ensemble's member, taken while it runs
description:
  - Runs on a member's host and changes nothing. A member that starts with the copy has every transaction that this one
    had written at the moment of the copy.
  - ZooKeeper 3.8 has no command for it. But a member itself starts from the newest snapshot that is whole, and from the
    transactions in its log since then. The module copies these files in that order. The log's last record may be cut;
    ZooKeeper leaves such a record out.
  - The data hold the salted passwords of all accounts. Use it with C(no_log).
options:
  data: {description: The member's data directory, type: path, required: true}
  most_bytes: {description: The largest archive that is returned, type: int, default: 268435456}
"""

EXAMPLES = r"""
- name: Copy the member's data
  ensemble_copy: {data: /var/lib/zookeeper}
  no_log: true
"""

RETURN = r"""
archive: {description: "A tar.gz of the directory version-2, in base64", returned: success, type: str}
files: {description: Their names, returned: success, type: list, elements: str}
"""

import base64
import io
import tarfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

BEGINS = b"ZKSN"
ENDS = b"\x00\x00\x00\x01/"  # what ZooKeeper writes last; SnapStream.isValidSnapshot looks for it
TRIES = 3


def number(path: Path) -> int:
    """The transaction in a file's name; -1 if there is none."""
    try:
        return int(path.name.partition(".")[2], 16)
    except ValueError:
        return -1


def whole(snapshot: Path) -> bool:
    """Whether a snapshot was written to its end."""
    with snapshot.open("rb") as file:
        begins = file.read(len(BEGINS)) == BEGINS
        size = file.seek(0, io.SEEK_END)
        file.seek(max(size - len(ENDS), 0))
        return begins and file.read() == ENDS


def chosen(directory: Path) -> list[Path]:
    """The files that a member would start from: the newest whole snapshot, then the logs since.

    The log whose first transaction is the last before the snapshot may go on after it.
    """
    snapshots = [path for path in directory.glob("snapshot.*") if number(path) >= 0 and whole(path)]
    if not snapshots:
        raise ValueError(f"{directory} has no whole snapshot: is this a member that has worked?")
    newest = max(snapshots, key=number)
    logs = sorted((path for path in directory.glob("log.*") if number(path) >= 0), key=number)
    before = [path for path in logs if number(path) <= number(newest)]
    epochs = [path for name in ("acceptedEpoch", "currentEpoch") if (path := directory / name).exists()]
    return [newest, *before[-1:], *(path for path in logs if number(path) > number(newest)), *epochs]


def archive(directory: Path, most: int) -> tuple[bytes, list[str]]:
    """The files as an archive, and their names. Raises ValueError if it is too large, OSError."""
    for attempt in range(TRIES):
        output = io.BytesIO()
        files = chosen(directory)
        try:
            with tarfile.open(fileobj=output, mode="w:gz", compresslevel=6) as tar:
                for path in files:
                    # A log grows while it is read, and its file has its full size from the beginning.
                    with path.open("rb") as file:
                        member = tar.gettarinfo(arcname=f"version-2/{path.name}", fileobj=file)
                        tar.addfile(member, file)
                    if output.tell() > most:  # so that a huge log does not fill the host's memory
                        break
            if output.tell() > most:
                raise ValueError(f"they have more than {most} bytes: see most_bytes")
            return output.getvalue(), [path.name for path in files]
        except FileNotFoundError:  # ZooKeeper has removed an old file
            if attempt == TRIES - 1:
                raise
    raise AssertionError


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "data": {"type": "path", "required": True},
            "most_bytes": {"type": "int", "default": 256 << 20},
        },
        supports_check_mode=True,
    )
    try:
        data, files = archive(Path(module.params["data"]) / "version-2", module.params["most_bytes"])
    except (OSError, ValueError, tarfile.TarError) as error:
        module.fail_json(msg=f"the member's data cannot be copied: {error}")
    module.exit_json(changed=False, archive=base64.b64encode(data).decode(), files=files)


if __name__ == "__main__":
    main()
