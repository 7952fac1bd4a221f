"""`make restore`: says what a backup is of, asks, puts the secrets back, and then the sites that are new.

    scripts/restore.py ENV --from BACKUP --key FILE [--site SITE | --ensemble SITE] [--yes] [options]

With `--ensemble` it gives the ensemble of a site its data back, and touches no other site.
Exits 1 if nobody agrees, or if there is no terminal to ask at.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from machines import ROOT, agreed, play


def zads(*words: str) -> int:
    """Run a command of zads, and return its exit status."""
    return subprocess.run([str(ROOT / ".venv/bin/zads"), *words], check=False).returncode


def what(ensemble: str | None) -> str:
    """What is going to be done."""
    if ensemble:
        return f"stops {ensemble}, and gives every member of its ensemble the data of the backup"
    return "stops all programs, and brings the new sites back. Sites that work stay as they are"


def main(words: list[str]) -> int:
    """Verify, ask, restore. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="restore")
    parser.add_argument("env")
    parser.add_argument("--from", dest="file", type=Path, required=True)
    parser.add_argument("--key", type=Path, required=True)
    parser.add_argument("--site", choices=["origin", "public"])
    parser.add_argument("--ensemble", choices=["origin", "public"])
    parser.add_argument("--yes", action="store_true")
    known, options = parser.parse_known_args(words)
    file, key = str(known.file.absolute()), str(known.key.absolute())
    if status := zads("backup", "verify", file, "--key", key):
        return status
    print(f"restore: {what(known.ensemble)}")
    if not known.yes and not agreed(known.env, "restore"):
        return 1
    if status := zads("backup", "secrets", file, "--key", key, "--env", known.env):
        return status
    variables = {"restore_file": file, "restore_key": key}
    if known.ensemble:
        variables["site_name"] = known.ensemble
    elif known.site:
        variables["restore_site"] = known.site
    return play(known.env, "restore_ensemble" if known.ensemble else "restore", "-e", json.dumps(variables), *options)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
