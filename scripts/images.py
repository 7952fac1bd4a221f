"""Build images and the Kafka distribution: images.py [NAME ...]; without a name, everything that inventories need.

NAME is host (both Debian releases), producer, mirrormaker, board, filter-worker (all of them: an inventory that adds
packages for its filters has its own), kafka (that of new sites, and those that inventories name) or kafka-VERSION.
`images.py --remove` removes all images.
"""

from __future__ import annotations

import sys
from pathlib import Path

from zads.build import distribution
from zads.build.images import DEPLOYED, HOST_PACKAGES, Builder, own_packages
from zads.errors import ZadsError


def main(names: list[str]) -> None:
    """Build the named images and archives, except those that exist and whose inputs have not changed."""
    builder = Builder(Path(__file__).resolve().parent.parent, lambda line: print(f"images: {line}", flush=True))
    if names == ["--remove"]:
        print(f"images: {builder.remove()} removed")
        return
    for name in names or ("kafka", "host", *DEPLOYED):
        if name == "kafka":
            for version in ("", *distribution.wanted(builder.root)):
                builder.kafka(version)
        elif name.startswith("kafka-"):
            builder.kafka(name.removeprefix("kafka-"))
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
