"""`make logs`: what our units wrote on all hosts, merged in order of time, without secrets.

The pattern comes by the environment variable ZADS_LOGS_PATTERN, since it may hold characters that a shell obeys.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from zads import journals, output
from zads.errors import ZadsError
from zads.secrecy import Secrets

ROOT = Path(__file__).resolve().parent.parent
MOST = 5000  # lines of output
CLOCK = 5  # seconds by which a host's clock may differ before the order of lines is in doubt
OURS = ("kafka", "zookeeper", "zads-*")


def options(words: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="logs", description=__doc__)
    parser.add_argument("env")
    parser.add_argument("--host", help="only this host, or a pattern of Ansible")
    parser.add_argument("--unit", action="append", help="kafka, zookeeper, zads-producer, zads-filters-*, ...")
    parser.add_argument("--since", default="1h", help="90s, 10min, 2h, 3d, or a time in UTC (%(default)s)")
    parser.add_argument("--until", help="the end, in the same form (now, if not given)")
    parser.add_argument(
        "--collected", action="store_true", help="what the log collector has, of hosts that are gone too"
    )
    parser.add_argument("--lines", type=int, default=200, help=f"the newest lines: 1 to {MOST} (%(default)s)")
    found = parser.parse_args(words)
    if not 1 <= found.lines <= MOST:
        parser.error(f"--lines is 1 to {MOST}")
    return found


def secrets(state: Path) -> Secrets:
    """The secrets of an environment that this control machine knows."""
    directory = state / "secrets"
    file = directory / "passwords.yml"
    passwords = yaml.safe_load(file.read_text()) if file.exists() else None
    return Secrets.of(directory, passwords if isinstance(passwords, dict) else {})


def read(given: argparse.Namespace, begin: float, end: float | None, units: list[str]) -> tuple[int, dict[str, Any]]:
    """Ansible's exit status, and what each host answered."""
    with tempfile.TemporaryDirectory(prefix="zads-logs-") as temporary:
        answers = Path(temporary) / "answers.json"
        asked = {
            "logs_to": str(answers), "logs_units": units, "logs_since": begin, "logs_lines": given.lines,
            **({} if end is None else {"logs_until": end}), **({"logs_collected": True} if given.collected else {}),
        }  # fmt: skip
        command = [str(ROOT / "scripts/ansible"), given.env, "logs", "-e", json.dumps(asked)]
        # The host of a collected entry is chosen below: its machine may be gone.
        command += ["--limit", given.host] if given.host and not given.collected else []
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if not answers.exists():
            sys.stderr.write(output.lines(done.stdout))
            return done.returncode or 1, {}
        return 0, json.loads(answers.read_text())


def problems(answers: dict[str, Any], began: float, ended: float) -> list[str]:
    """What hosts did not say, and clocks that leave the order of the lines in doubt."""
    found = []
    for host, answer in sorted(answers.items()):
        if "entries" not in answer:
            found.append(f"{host}: {answer.get('msg', 'does not answer')}")
        elif not began - CLOCK <= answer["clock"] <= ended + CLOCK:
            found.append(f"{host}: its clock differs, so its lines stand in the wrong place")
    return found


def main(words: list[str]) -> int:
    """Read, merge, hide, print. Returns 1 if a host did not answer."""
    given = options(words)
    began = time.time()
    try:
        units = [journals.unit(one) for one in given.unit or OURS]
        begin = journals.moment(given.since, began)
        end = journals.moment(given.until, began) if given.until else None
        if begin >= (began if end is None else end):
            raise ZadsError("there is no time between SINCE and UNTIL", hint="SINCE is the earlier one")
    except ZadsError as error:
        print(f"logs: {error}", file=sys.stderr)
        return 2
    status, answers = read(given, begin, end, units)
    if status:
        return status
    hidden = secrets(ROOT / ".zads" / given.env)
    entries = {host: answer.get("entries", []) for host, answer in answers.items()}
    if given.collected and given.host:
        entries = {
            host: [one for one in found if fnmatchcase(one["host"], given.host)] for host, found in entries.items()
        }
    lines = journals.merged(entries, given.lines)
    for one in lines:
        print(journals.Entry(one.microseconds, one.host, one.unit, hidden.hide(one.text)).line())
    if not lines:
        print("logs: nothing was found; SINCE=1d looks further back", file=sys.stderr)
    left_out = sum(map(len, entries.values())) > len(lines) or any(one.get("more") for one in answers.values())
    if left_out:
        print(
            f"logs: these are the newest {len(lines)} lines; more by LINES=, others by UNTIL=, UNIT=, GREP=",
            file=sys.stderr,
        )
    wrong = problems(answers, began, time.time())
    for problem in wrong:
        print(output.plain(f"logs: {problem}"), file=sys.stderr)
    return 1 if any("entries" not in answer for answer in answers.values()) else 0


if __name__ == "__main__":
    output.prepare()
    sys.exit(main(sys.argv[1:]))
