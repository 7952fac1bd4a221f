#!/usr/bin/env python3
"""Try to reach the site step by step, and say what does not work: python3 -m pip install confluent-kafka.

Name, connection, certificate and login of each broker, your consumer group, and one record. Nothing is changed.
"""

from __future__ import annotations

import argparse
import sys

import kit

kit.need("confluent_kafka", "confluent-kafka")

import reach  # noqa: E402


def main() -> int:
    """Print each step as it is done. Returns 1 if one fails."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    settings = kit.settings()
    failed = False
    for step in reach.tried(settings, f"{settings['sasl.username']}-check"):
        failed = failed or step.state == reach.FAIL
        for line in step.lines():
            print("".join(one if one.isprintable() else ascii(one)[1:-1] for one in line), flush=True)
    print("something does not work: see above" if failed else "everything works", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
