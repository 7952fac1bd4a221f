"""Virtual environments of tests, beside the control machine's own."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def environment(name: str) -> Path:
    """The virtual environment of ``requirements/NAME.txt``, made on first use and when that file changes."""
    requirements, directory = ROOT / "requirements" / f"{name}.txt", ROOT / ".zads" / "cache" / f"python-{name}"
    wanted = f"{sys.version_info[:2]} {hashlib.sha256(requirements.read_bytes()).hexdigest()}"
    stamp = directory / "made-from"
    if not stamp.exists() or stamp.read_text() != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", directory], check=True)
        pip = [
            directory / "bin/python",
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-compile",
            "--disable-pip-version-check",
        ]
        subprocess.run([*pip, "--require-hashes", "--only-binary", ":all:", "-r", requirements], check=True)
        stamp.write_text(wanted)
    return directory
