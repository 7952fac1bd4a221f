"""Build images and the Kafka distribution: images.py [NAME ...]; all that an inventory needs when none is named.

NAME is host (of both Debian releases), kafka, producer, mirrormaker or filter-worker (with it go those of inventories
that add packages for their filters). `--remove` removes them all.
"""

from __future__ import annotations

import sys
from pathlib import Path

from zads.build.images import DEPLOYED, HOST_PACKAGES, Builder, own_packages
from zads.errors import ZadsError


def main(names: list[str]) -> None:
    """Build what is named; each is a no-op when its inputs have not changed."""
    builder = Builder(Path(__file__).resolve().parent.parent, lambda line: print(f"images: {line}", flush=True))
    if names == ["--remove"]:
        print(f"images: {builder.remove()} removed")
        return
    for name in names or ("kafka", "host", *DEPLOYED):
        if name == "kafka":
            builder.kafka()
        elif name == "host":
            for suite in HOST_PACKAGES:
                builder.host(suite)
        elif name in DEPLOYED:
            builder.export(name)
            for env in own_packages(builder.root) if name == "filter-worker" else ():
                builder.export(name, env)
        else:
            raise ZadsError(f"no image {name!r}", hint=f"there are kafka, host, {', '.join(DEPLOYED)}")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except ZadsError as error:
        sys.exit(f"images: {error}")
