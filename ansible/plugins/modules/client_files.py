#!/usr/bin/python
"""Writes a kit for every user of a site."""
# ruff: noqa: E402 - the order Ansible asks for: documentation, then imports

from __future__ import annotations

DOCUMENTATION = r"""
module: client_files
short_description: A kit of files and programs for every user of a site
description:
  - Runs on the control machine. Writes O(directory)/USER/ from O(templates), and O(directory)/USER.properties, which is
    the kit's librdkafka.properties with the certificate's whole path, for use on this machine.
  - Files that a kit no longer has are removed, and so are the kits of users who are gone. Files that this module did
    not write are left alone. No password and no contents of a file are shown.
  - The kits of both sites share the directory. A run waits while another one writes there.
options:
  directory: {description: Directory of the kits, type: path, required: true}
  templates: {description: Directory of the kit's files, type: path, required: true}
  site: {description: The site that they connect to, type: str, required: true, choices: [origin, public]}
  bootstrap: {description: The site's brokers, type: list, elements: str, required: true}
  ca: {description: Certificate of the site's authority, type: path, required: true}
  policy: {description: The inventory's data that zads.site.policy reads, type: dict, required: true}
  passwords: {description: "User: password. A user without a password gets no kit", type: dict, required: true}
"""

EXAMPLES = r"""
- name: For everybody at the public site
  client_files:
    directory: .zads/local/clients
    templates: roles/access/templates/kit
    site: public
    bootstrap: ["192.0.2.11:9094"]
    ca: .zads/local/secrets/public/kafka-ca.crt
    policy: "{{ site_policy }}"
    passwords: {reader: "{{ password }}"}
"""

RETURN = r"""
written: {description: "Files that were made or changed, as USER/FILE", returned: success, type: list, elements: str}
removed: {description: Files that were removed, returned: success, type: list, elements: str}
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.whole_file import replace

from zads.errors import ZadsError
from zads.kit import File, Kit
from zads.site.policy import Policy

#: Lists the site and, one a line, the files of a kit that this module has written: no other file is ever removed.
LIST = ".files"


def wanted(params: dict, policy: Policy) -> dict[str, File]:
    """Every file of every kit of the site, by its path below the directory. Raises ZadsError, OSError."""
    templates, certificate = Path(params["templates"]), Path(params["ca"]).read_text()
    found = {}
    for user in policy.users:
        password = params["passwords"].get(user.name)
        if user.site != params["site"] or password is None:
            continue
        kit = Kit.of(policy, user.name, str(password), params["bootstrap"], certificate)
        files = kit.files(templates)
        listed = "".join(f"{line}\n" for line in [params["site"], *sorted(files)])
        found |= {f"{user.name}/{name}": file for name, file in files.items()}
        found[f"{user.name}/{LIST}"] = File(listed.encode())
        here = str(Path(params["directory"]).absolute() / user.name / "ca.pem")
        found[f"{user.name}.properties"] = File(kit.render(templates / "librdkafka.properties.j2", ca=here).encode())
    return found


def superfluous(directory: Path, site: str, policy: Policy, files: dict[str, File]) -> list[str]:
    """Files that this module wrote and no kit has: of users of this site, or of users who have left it.

    The files of a user who moved to the other site belong to that site's run, which may be under way.
    """
    known = {user.name: user.site for user in policy.users}
    heading = f"# How to connect to the site {site} "
    before: dict[str, list[str]] = {}
    for listed in sorted(directory.glob(f"*/{LIST}")):
        owner, *names = listed.read_text().splitlines()
        if known.get(listed.parent.name, owner) == site:
            before[listed.parent.name] = [f"{listed.parent.name}/{name}" for name in [*names, LIST]]
    for path in sorted(directory.glob("*.properties")):
        if path.stem not in known and path.read_text().startswith(heading):
            before.setdefault(path.stem, []).append(path.name)
    writing = {name.partition("/")[0] for name in files}
    return [
        name
        for user, names in before.items()
        if user in writing or user not in known
        for name in names
        if name not in files and ".." not in Path(name).parts
    ]


def differs(path: Path, file: File) -> bool:
    return not path.is_file() or path.read_bytes() != file.data or path.stat().st_mode & 0o777 != file.mode


def write(path: Path, file: File, top: Path) -> None:
    """Write a file. Only the owner can enter the directories above it, up to the top one."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    for directory in path.parents:
        directory.chmod(0o700)
        if directory == top:
            break
    replace(path, file.data, file.mode)


def remove(path: Path, top: Path) -> None:
    """Remove a file and the directories above it that become empty, up to the top one."""
    path.unlink(missing_ok=True)
    for directory in path.parents:
        if directory == top or any(directory.iterdir()):
            break
        directory.rmdir()


@contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Hold the directory for one run: the sites' runs begin together, and each removes users who are gone."""
    if not directory.is_dir():  # as in check mode before the first deployment: there is nothing to share yet
        yield
        return
    held = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def settle(params: dict, *, check: bool) -> dict:
    """Write the kits, except in check mode. Returns the module's answer. Raises ZadsError, OSError."""
    directory = Path(params["directory"])
    policy = Policy.read(params["policy"])
    files = wanted(params, policy)
    if not check:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with alone(directory):
        written = sorted(name for name, file in files.items() if differs(directory / name, file))
        removed = superfluous(directory, params["site"], policy, files)
        if not check:
            for name in written:
                write(directory / name, files[name], directory)
            for name in removed:
                remove(directory / name, directory)
    return {
        "changed": bool(written or removed),
        "written": written,
        "removed": removed,
        "diff": {"before": "".join(f"{n}\n" for n in removed), "after": "".join(f"{n}\n" for n in written)},
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "templates": {"type": "path", "required": True},
            "site": {"type": "str", "required": True, "choices": ["origin", "public"]},
            "bootstrap": {"type": "list", "elements": "str", "required": True},
            "ca": {"type": "path", "required": True},
            "policy": {"type": "dict", "required": True},
            "passwords": {"type": "dict", "required": True, "no_log": True},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**settle(module.params, check=module.check_mode))
    except (ZadsError, OSError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
