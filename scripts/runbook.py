"""Execute a runbook: the ``sh`` blocks of docs/runbooks/NAME.md, in order, as one types them.

    scripts/runbook.py ENV NAME

One shell runs all blocks under `set -eu`, with ENV set, from the root of the checkout: a variable that one block sets
exists in the next, and the first command that fails ends the run.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(runbook: Path) -> list[str]:
    """The commands of a runbook, block by block."""
    return BLOCK.findall(runbook.read_text())


def main(env: str, name: str) -> int:
    """Run every block in one shell that prints each block first; returns the exit status."""
    runbook = ROOT / "docs" / "runbooks" / f"{name}.md"
    if not runbook.exists():
        known = ", ".join(sorted(path.stem for path in runbook.parent.glob("*.md") if path.stem != "README"))
        print(f"runbook: there is no {name}: name one of {known}", file=sys.stderr)
        return 2
    script = "set -eu\n" + "\n".join(
        f"cat <<'RUNBOOK_BLOCK'\n\n>>> {runbook.name}\n{text}RUNBOOK_BLOCK\n{text}" for text in blocks(runbook)
    )
    environment = {**os.environ, "ENV": env, "PATH": f"{ROOT}/.venv/bin:{os.environ['PATH']}"}
    return subprocess.run(["bash", "-c", script], cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: scripts/runbook.py ENV NAME")
    sys.exit(main(*sys.argv[1:]))
