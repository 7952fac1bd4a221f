"""The root file system of a Debian release as an image."""

from __future__ import annotations

import grp
import os
import pwd
import shlex
import subprocess
import tempfile
from pathlib import Path

from zads.build import step
from zads.build.engine import LABEL, Engine


def root(engine: Engine, suite: str, say: step.Say) -> str:
    """The tag of a release's minimal root file system, made by mmdebstrap if the engine does not have it.

    The environment variable ZADS_BASE_IMAGE_SUITE (in capitals, e.g. ZADS_BASE_IMAGE_BOOKWORM) names an image of the
    engine to use instead. Raises ZadsError if no Debian mirror gives the packages.
    """
    given = os.environ.get(f"ZADS_BASE_IMAGE_{suite.upper()}")
    if given:
        return given
    tag = f"zads/debian:{suite}"
    if not engine.exists(tag):
        say(f"Debian {suite} by mmdebstrap")
        with tempfile.TemporaryDirectory(prefix="zads-debian-") as temporary:
            tarball = str(Path(temporary) / "root.tar")
            command = ["mmdebstrap", "--quiet", "--variant=minbase", suite, tarball]
            step.run(_in_own_group(command), f"mmdebstrap {suite} failed", hint="is a Debian mirror reachable?")
            load = ["docker", "import", "--change", f"LABEL {LABEL}=image", tarball, tag]
            subprocess.run(load, check=True, capture_output=True)
    return tag


def _in_own_group(command: list[str]) -> list[str]:
    """The command in the user's own group.

    ``scripts/with-engine`` may have made docker's group the current one, which mmdebstrap's user namespace refuses.
    """
    if os.geteuid() == 0:
        return command
    own = grp.getgrgid(pwd.getpwuid(os.geteuid()).pw_gid).gr_name
    return ["sg", own, "-c", shlex.join(command)]
