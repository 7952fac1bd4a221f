"""Wheels that images install: the pinned packages, and the project's own."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from zads.build import step
from zads.build.inputs import inputs_hash
from zads.filters import packages

#: Platforms whose wheels the images' Debian runs, the newest first.
PLATFORMS = ("manylinux_2_36_x86_64", "manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
#: The time of every file in the project's own wheel (1 November 2018): the same sources give the same wheel.
SOURCE_DATE_EPOCH = "1541030400"


def pinned(root: Path, lists: Sequence[Path], say: step.Say) -> Path:
    """A directory with the wheels that some requirement lists pin, for the images' Python; downloaded if it is missing.

    ``root`` is the repository. Raises ZadsError if pip cannot download one or its hash differs.
    """
    directory = root / ".zads" / "cache" / "wheels" / inputs_hash(lists, packages.PYTHON, *PLATFORMS)
    if directory.exists():
        return directory
    names = ", ".join(str(path.relative_to(root)) for path in lists)
    say(f"wheels of {names}")
    partial = directory.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    command = [_python(root), "-m", "pip", "download", "--quiet", "--require-hashes", "--no-deps"]
    command += ["--only-binary", ":all:", "--python-version", packages.PYTHON]
    command += [word for platform in PLATFORMS for word in ("--platform", platform)]
    command += ["--dest", str(partial), *(word for path in lists for word in ("--requirement", str(path)))]
    step.run(command, f"fetching the wheels of {names} failed")
    partial.rename(directory)
    return directory


def own(root: Path, say: step.Say) -> Path:
    """The project's own wheel, built from the checkout. Raises ZadsError if the build fails."""
    say("wheel of zads")
    target = root / ".zads" / "cache" / "wheel"
    shutil.rmtree(target, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="zads-wheel-") as temporary:
        # A copy, because a build leaves files in the directory it works in.
        source = Path(temporary)
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(root / name, source / name)
        shutil.copytree(root / "src", source / "src", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
        command = [_python(root), "-m", "build", "--wheel", "--no-isolation", "--outdir", str(target), str(source)]
        environment = {**os.environ, "SOURCE_DATE_EPOCH": SOURCE_DATE_EPOCH}
        step.run(command, "building the wheel failed", environment=environment)
    return next(target.glob("zads-*.whl"))


def _python(root: Path) -> str:
    return str(root / ".venv/bin/python")
