"""What a deployment's filters did with a night's alerts, and how far behind they are, as their cluster has it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from zads import kafka, names, reading

#: What a filter's workers count of the alerts that they were offered.
COUNTED = ("seen", "passed", "capped", "failed")


def records(conf: Mapping[str, str]) -> list[dict[str, Any]]:
    """The newest record of counts of each filter and worker."""
    newest: dict[bytes, dict[str, Any]] = {}
    for message in reading.read_topics(conf, [names.FILTER_COUNTS_TOPIC]):
        newest[bytes(message.key() or b"")] = json.loads(message.value() or b"{}")
    return list(newest.values())


def counts(conf: Mapping[str, str], nights: Iterable[str]) -> dict[str, dict[str, int]]:
    """What each filter has done with these nights' alerts: filter -> number of each kind of COUNTED.

    Workers write these counts in the transaction that commits their offsets: they agree with `lag`.
    """
    totals: dict[str, dict[str, int]] = {}
    wanted = set(nights)
    for record in records(conf):
        total = totals.setdefault(record["filter"], dict.fromkeys(COUNTED, 0))
        for night in wanted & record.get("nights", {}).keys():
            for name in COUNTED:
                total[name] += int(record["nights"][night][name])
    return totals


def lag(conf: Mapping[str, str], group: str, ends: Mapping[tuple[str, int], int]) -> int:
    """How many offsets a consumer group is behind ``ends``: (topic, partition) -> the offset behind its last record.

    ``ends`` are not the partitions' ends: those count transaction markers, which no consumer sees or commits.
    """
    if not ends:
        return 0
    committed = kafka.committed(conf, group, ends)
    return sum(max(0, end - committed[where]) for where, end in ends.items())
