#!/usr/bin/python
"""Keeps the unit of each program's image before, and puts it back."""
# ruff: noqa: E402 - the order Ansible asks for: documentation, then imports

from __future__ import annotations

DOCUMENTATION = r"""
module: earlier_units
short_description: Keep the units of the images before, and put them back
description:
  - Runs on the host of the programs. An image and the options that its unit gives it belong together, so the whole unit
    is kept.
options:
  state:
    description:
      - V(kept) keeps each unit that is about to be replaced by one with another image. V(shown) only says what could be
        put back. V(restored) puts the units back; they still have to be restarted.
    type: str
    choices: [kept, shown, restored]
    required: true
  files:
    description: The new files, as the module M(host_files) takes them; those that are no units are left out.
    type: list
    elements: dict
    default: []
  units:
    description: "Patterns of units that are shown or restored"
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Put the earlier producer back
  earlier_units: {state: restored, units: [zads-producer.service]}
"""

RETURN = r"""
said: {description: A line for each unit, returned: always, type: list, elements: str}
refused: {description: Why a unit cannot be put back, returned: always, type: list, elements: str}
units: {description: "Units that have, or can have, an earlier image", returned: always, type: list, elements: str}
instances: {description: What has to be restarted after a restoration, returned: always, type: list, elements: str}
"""

import fnmatch
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.unit_images import BEFORE, UNITS, image, instances, programs, text
from ansible.module_utils.whole_file import replace

ROOT = (0, 0)


def keep(files: list[dict], units: Path, before: Path, *, check: bool) -> tuple[bool, list[str]]:
    """Keep each unit that loses its image. Returns whether any was kept, and a line for each rollback that ends."""
    changed, said = False, []
    for one in files:
        path = Path(one["path"])
        now, new = image(text(path)), image(one["content"])
        if path.parent != units or not now or not new:
            continue
        left = before / f"{path.name}.left"
        if (back := text(left).strip()) and back != now:
            says = "stays there" if now == new else f"goes to {new}"
            said.append(f"{path.name} was rolled back from {back} to {now}: it {says}")
        if now == new and not back:
            continue
        changed = True
        if check:
            continue
        if now != new:
            before.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace(before / path.name, text(path).encode(), 0o600, ROOT)
        left.unlink(missing_ok=True)
    return changed, said


def chosen(patterns: list[str], units: Path, before: Path) -> list[dict[str, str]]:
    """The programs whose units match."""
    return [one for one in programs(units, before) if any(fnmatch.fnmatch(one["unit"], p) for p in patterns)]


def said_of(one: dict[str, str]) -> str:
    """What becomes of a program's unit."""
    if one["rolled_back"]:
        return f"{one['unit']} has {one['image']} again already, rolled back from {one['rolled_back']}"
    if one["before"]:
        return f"{one['unit']}: {one['image']} becomes {one['before']} again"
    return f"{one['unit']} keeps {one['image']}: it has had no other on this host"


def refusals(found: list[dict[str, str]], there: set[str]) -> list[str]:
    """Why units cannot be put back. ``there``: the images that the engine has."""
    return [
        f"{one['unit']}: the engine has no {one['before']} any more"
        for one in found
        if one["before"] and one["before"] not in there
    ]


def restore(found: list[dict[str, str]], units: Path, before: Path) -> None:
    """Put units back. The note of what each leaves comes first, so that an interrupted run leaves none without it."""
    for one in found:
        if one["before"]:
            replace(before / f"{one['unit']}.left", f"{one['image']}\n".encode(), 0o600, ROOT)
            replace(units / one["unit"], (before / one["unit"]).read_bytes(), 0o644, ROOT)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["kept", "shown", "restored"], "required": True},
            "files": {"type": "list", "elements": "dict", "default": []},
            "units": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    state, check = module.params["state"], module.check_mode
    if state == "kept":
        changed, said = keep(module.params["files"], UNITS, BEFORE, check=check)
        module.exit_json(changed=changed, said=said, refused=[], units=[], instances=[])
    found = chosen(module.params["units"], UNITS, BEFORE)
    there = set()
    if found:
        listed = module.run_command(["docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}"], check_rc=True)
        there = set(listed[1].split())
    refused = refusals(found, there)
    if state == "restored":
        if refused:
            module.fail_json(msg="; ".join(refused))
        if not check:
            restore(found, UNITS, BEFORE)
    earlier = [one for one in found if one["before"] or one["rolled_back"]]
    module.exit_json(
        changed=state == "restored" and any(one["before"] for one in found),
        said=[said_of(one) for one in found],
        refused=refused,
        units=[one["unit"] for one in earlier],
        instances=[name for one in earlier for name in instances(one["unit"], UNITS)],
    )


if __name__ == "__main__":
    main()
