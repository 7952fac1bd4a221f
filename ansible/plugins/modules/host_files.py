#!/usr/bin/python
"""Writes a program's directories and files on a host, and says what its units need after that, in one step.

Ansible's own modules and a handler are not enough: if a play fails after the change, its handler never runs. The next
run then finds nothing changed, and the process keeps running with the old files. Here the checksums that a process
noted at its start decide, so the next deployment finishes an interrupted one. One call also takes only one round trip.
"""
# ruff: noqa: E402 - the order Ansible asks for: documentation, then imports

from __future__ import annotations

DOCUMENTATION = r"""
module: host_files
short_description: A program's directories and files, and what its units need
description:
  - Files are replaced whole, with their owner and mode. A difference shows the lines of a file; for a secret it shows
    only that it differs.
  - The state of units is read, not changed. At its start each unit writes the checksums (C(sha256sum)) of the files
    that it reads into C(/run/NAME/started-with), and of those that it reads again on a reload into
    C(/run/NAME/reloaded-with).
options:
  directories:
    description: Directories, made with their parents if they are missing.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: Its path, type: path, required: true}
      owner: {description: "Its owner, else O(owner)", type: str}
      group: {description: "Its group, else O(group)", type: str}
      mode: {description: "Its mode, in octal digits", type: str, default: "0755"}
  files:
    description: Files that anybody may see in a difference.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: Its path, type: path, required: true}
      content: {description: Its contents, type: str, required: true}
      owner: {description: "Its owner, else O(owner)", type: str}
      group: {description: "Its group, else O(group)", type: str}
      mode: {description: "Its mode, in octal digits", type: str, default: "0644"}
  secrets:
    description: Files whose O(contents) nobody may see.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: Its path, type: path, required: true}
      owner: {description: "Its owner, else O(owner)", type: str}
      group: {description: "Its group, else O(group)", type: str}
      mode: {description: "Its mode, in octal digits", type: str, default: "0400"}
  contents:
    description:
      - The contents of each of O(secrets), by its path. They are an option of their own so that Ansible hides them as a
        whole. As part of the list they would be written into the host's journal with each line end as two characters,
        in which Ansible would not recognise the text to hide.
    type: dict
    default: {}
  owner: {description: Owner of paths that name none, type: str, default: root}
  group: {description: Group of paths that name none, type: str, default: root}
  purge:
    description: Patterns of paths. Every matching path is removed, unless it is named or holds a named path.
    type: list
    elements: str
    default: []
  kept:
    description: Paths that another task has written. A purge leaves them; a unit that has not read one needs a reload.
    type: list
    elements: str
    default: []
  applied:
    description:
      - Files among O(files) whose new contents the running units have already. They need no restart, and the unit's
        checksums become those of the new contents.
    type: list
    elements: path
    default: []
  units: {description: Units whose needs are reported, type: list, elements: str, default: []}
"""

EXAMPLES = r"""
- name: Write the broker's configuration
  host_files:
    group: kafka
    directories: [{path: /etc/kafka, mode: "0750"}]
    files:
      - {path: /etc/kafka/server.properties, content: "{{ lookup('template', 'server.properties.j2') }}"}
    units: [kafka.service]
"""

RETURN = r"""
written: {description: Paths that changed, returned: always, type: list, elements: str}
removed: {description: Paths removed, returned: always, type: list, elements: str}
needs:
  description:
    - What each unit needs, V(started), V(restarted) or V(reloaded). Units that need nothing are not named. V(started)
      may also mean that a unit runs but would not after a reboot. In check mode a unit still to be written is not
      named.
  returned: always
  type: dict
"""

import glob
import grp
import hashlib
import os
import pwd
import shutil
from dataclasses import dataclass
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.whole_file import replace

RUN = Path("/run")


@dataclass(frozen=True)
class State:
    """The present or wanted state of a path. ``content`` is None for a directory."""

    owner: str
    group: str
    mode: int
    content: bytes | None

    def lines(self, *, secret: bool) -> str:
        """The lines of a difference."""
        head = f"{self.owner}:{self.group} {self.mode:04o}\n"
        if self.content is None:
            return head
        return head + ("(a secret)\n" if secret else self.content.decode(errors="replace"))


@dataclass(frozen=True)
class Entry:
    """A path, its wanted state, and whether its content is secret."""

    path: Path
    wanted: State
    secret: bool

    def present(self) -> State | None:
        """Its present state; None if it does not exist."""
        if not self.path.exists():
            return None
        status = self.path.stat()
        content = self.path.read_bytes() if self.path.is_file() else None
        return State(_user(status.st_uid), _group(status.st_gid), status.st_mode & 0o7777, content)

    def make(self) -> None:
        """Raises KeyError if there is no such user or group."""
        owner = pwd.getpwnam(self.wanted.owner).pw_uid, grp.getgrnam(self.wanted.group).gr_gid
        if self.wanted.content is not None:
            replace(self.path, self.wanted.content, self.wanted.mode, owner)
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.mkdir(mode=0o700, exist_ok=True)
        os.chown(self.path, *owner)
        self.path.chmod(self.wanted.mode)

    def difference(self, before: State | None) -> dict:
        """The difference in the form that ``--diff`` prints."""
        old = before.lines(secret=self.secret) if before else ""
        new = self.wanted.lines(secret=self.secret)
        if self.secret and old == new:
            new = new.replace("(a secret)", "(another secret)")
        return {"before_header": str(self.path), "after_header": str(self.path), "before": old, "after": new}


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def entries(params: dict) -> list[Entry]:
    """All wanted paths, directories first. Raises ValueError if secrets and their contents do not agree."""
    contents = params["contents"]
    if unequal := {one["path"] for one in params["secrets"]}.symmetric_difference(contents):
        raise ValueError(f"secrets and contents must name the same paths: {', '.join(sorted(unequal))}")
    return [
        *(Entry(Path(one["path"]), _state(one, None, params), secret=False) for one in params["directories"]),
        *(Entry(Path(one["path"]), _state(one, one["content"], params), secret=False) for one in params["files"]),
        *(
            Entry(Path(one["path"]), _state(one, contents[one["path"]], params), secret=True)
            for one in params["secrets"]
        ),
    ]


def _state(one: dict, text: str | None, defaults: dict) -> State:
    content = None if text is None else text.encode()
    return State(one["owner"] or defaults["owner"], one["group"] or defaults["group"], int(one["mode"], 8), content)


def strays(patterns: list[str], named: list[Path]) -> list[Path]:
    """Paths that match a pattern, and are neither named nor a directory above a named path."""
    found = {Path(path) for pattern in patterns for path in glob.glob(pattern)}  # noqa: PTH207 absolute patterns
    kept = {path for one in named for path in (one, *one.parents)}
    return sorted(path for path in found - kept if not found.intersection(path.parents) - kept)


def listed(listing: Path) -> dict[Path, str]:
    """The files and digests of a list that `sha256sum` wrote; empty if there is no list."""
    lines = listing.read_text().splitlines() if listing.exists() else []
    return {Path(name): digest for digest, _, name in (line.partition("  ") for line in lines)}


def agrees(sums: dict[Path, str], wanted: dict[Path, bytes]) -> bool:
    """Whether these files have their old digests: in their wanted state, or in their present one if none is wanted."""
    return bool(sums) and all(_digest(path, wanted) == digest for path, digest in sums.items())


def _digest(path: Path, wanted: dict[Path, bytes]) -> str:
    if path not in wanted and not path.exists():
        return ""
    return hashlib.sha256(wanted[path] if path in wanted else path.read_bytes()).hexdigest()


def runtime(unit: str) -> Path:
    """The directory into which a unit writes its checksums."""
    return RUN / unit.removesuffix(".service").replace("@", "-")


def need(
    unit: str, state: dict[str, str], wanted: dict[Path, bytes], kept: list[Path], applied: frozenset[Path]
) -> str:
    """What a unit needs: started, restarted, reloaded or nothing."""
    directory = runtime(unit)
    if state.get("ActiveState") not in ("active", "reloading"):
        return "started"
    started = listed(directory / "started-with")
    if not agrees({path: _after(path, sum_, wanted, applied) for path, sum_ in started.items()}, wanted):
        return "restarted"
    reloaded = listed(directory / "reloaded-with")
    new = [
        path for path in (*wanted, *kept) if path not in reloaded and path.parent in {one.parent for one in reloaded}
    ]
    if reloaded and (new or not agrees(reloaded, wanted)):
        return "reloaded"
    return "" if state.get("UnitFileState") == "enabled" else "started"


def _after(path: Path, digest: str, wanted: dict[Path, bytes], applied: frozenset[Path]) -> str:
    """The digest that a unit's list has for a file once the unit has taken the file's new contents."""
    return _digest(path, wanted) if path in applied else digest


def acknowledge(unit: str, wanted: dict[Path, bytes], applied: frozenset[Path]) -> None:
    """Write into a unit's list that it runs with the new contents of these files."""
    listing = runtime(unit) / "started-with"
    before = listed(listing)
    after = {path: _after(path, digest, wanted, applied) for path, digest in before.items()}
    if after != before:
        lines = "".join(f"{digest}  {path}\n" for path, digest in after.items())
        status = listing.stat()
        replace(listing, lines.encode(), status.st_mode & 0o7777, (status.st_uid, status.st_gid))


def states(module: AnsibleModule, units: list[str]) -> dict[str, dict[str, str]]:
    """What systemd reports of each unit."""
    command = ["systemctl", "show", "--property=Id,LoadState,ActiveState,UnitFileState", *units]
    _, output, _ = module.run_command(command, check_rc=True)
    blocks = [dict(line.split("=", 1) for line in block.splitlines()) for block in output.strip().split("\n\n")]
    return dict(zip(units, blocks, strict=True))


def settle(params: dict, units: dict[str, dict[str, str]], *, check: bool) -> dict:
    """Change what differs, except in check mode. Returns the module's answer. ``units``: systemd's report of each."""
    all_entries = entries(params)
    wrong = [(entry, before) for entry in all_entries if (before := entry.present()) != entry.wanted]
    kept = [Path(path) for path in params["kept"]]
    gone = strays(params["purge"], [*(entry.path for entry in all_entries), *kept])
    contents = {entry.path: entry.wanted.content for entry in all_entries if entry.wanted.content is not None}
    applied = frozenset(Path(path) for path in params["applied"])
    needs = {unit: what for unit, state in units.items() if (what := need(unit, state, contents, kept, applied))}
    if check:
        needs = {unit: what for unit, what in needs.items() if units[unit]["LoadState"] == "loaded"}
    else:
        for entry, _ in wrong:
            entry.make()
        for path in gone:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        for unit in units:
            acknowledge(unit, contents, applied)
    return {
        "changed": bool(wrong or gone),
        "written": [str(entry.path) for entry, _ in wrong],
        "removed": [str(path) for path in gone],
        "needs": needs,
        "diff": [
            *(entry.difference(before) for entry, before in wrong),
            *(
                {"before_header": str(path), "after_header": str(path), "before": "there\n", "after": ""}
                for path in gone
            ),
        ],
    }


def main() -> None:
    place = {
        "path": {"type": "path", "required": True},
        "owner": {"type": "str"},
        "group": {"type": "str"},
    }
    text = {"type": "str", "required": True}
    module = AnsibleModule(
        argument_spec={
            "directories": _list({**place, "mode": {"type": "str", "default": "0755"}}),
            "files": _list({**place, "mode": {"type": "str", "default": "0644"}, "content": text}),
            "secrets": _list({**place, "mode": {"type": "str", "default": "0400"}}),
            "contents": {"type": "dict", "default": {}, "no_log": True},
            "owner": {"type": "str", "default": "root"},
            "group": {"type": "str", "default": "root"},
            "purge": {"type": "list", "elements": "str", "default": []},
            "kept": {"type": "list", "elements": "str", "default": []},
            "applied": {"type": "list", "elements": "path", "default": []},
            "units": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    params = module.params
    units = states(module, params["units"]) if params["units"] else {}
    try:
        result = settle(params, units, check=module.check_mode)
    except (KeyError, ValueError, OSError) as error:  # no such user or group; a directory in the place of a file
        module.fail_json(msg=str(error.args[0] if isinstance(error, KeyError) else error))
    module.exit_json(**result)


def _list(options: dict) -> dict:
    return {"type": "list", "elements": "dict", "default": [], "options": options}


if __name__ == "__main__":
    main()
