"""Who is asked for metrics, where, and in which bounds: one table, for the hosts that answer and for the one that asks.

Each host has one front (TLS, a password), and behind it the programs that it runs, each under a path. A program that is
new here needs a row in PROGRAMS, and its address in `_host_metrics_addresses` of the role `host_metrics`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

#: Seconds between two scrapes, and until one is given up. Rates are of a minute or more, so four scrapes are enough.
INTERVAL, TIMEOUT = 15, 10
#: Bounds of one answer. One with more is refused as a whole, so that no program can fill the monitor's disk or memory.
BODY_BYTES, LABELS, LABEL_CHARACTERS = 8_000_000, 20, 300


@dataclass(frozen=True)
class Program:
    """A kind of program: the group of its hosts (empty for all hosts), the series that one may tell at most, a pattern
    of the metrics that are kept (empty for all), and whether its series have the label of its host's site. Programs
    that tell of both sites have that label of their own."""

    group: str
    series: int
    keep: str = ""
    of_site: bool = False


_JVM = "jvm_(memory_(used|max)_bytes|gc_collection_seconds_(count|sum)|threads_current)|process_.+"
#: By job. Only the mirror's series grow with the nights: six a partition that it copies.
PROGRAMS = {
    "node": Program("", 2_000, of_site=True),
    "kafka": Program("kafka", 1_000, f"kafka_.+|{_JVM}", of_site=True),
    "zookeeper": Program("zookeeper", 500, f"zookeeper_.+|{_JVM}", of_site=True),
    "mirrormaker": Program("mirrors", 50_000, f"mirrormaker_.+|{_JVM}"),
    "producer": Program("producers", 500),
    "night_keeper": Program("night_keepers", 500),
    "filter_worker": Program("workers", 5_000),
    "site_exporter": Program("exporters", 20_000),
    "auditor": Program("auditors", 500),
    "board": Program("boards", 500),
    "archive": Program("archives", 500),
}
WORKER = "filter_worker"


@dataclass(frozen=True)
class Source:
    """Something that a host tells: its job, its path at the front, its port (workers only), and labels of its own."""

    job: str
    path: str
    port: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)


def sources(member_of: Iterable[str], workers: Sequence[tuple[str, int]] = (), first_port: int = 0) -> list[Source]:
    """What a host tells, by its groups. ``workers``: the group and number of each worker on it; the ports of their
    metrics follow each other from the first one on."""
    groups = set(member_of)
    found = [
        Source(job, f"/{job}")
        for job, program in PROGRAMS.items()
        if job != WORKER and (not program.group or program.group in groups)
    ]
    for place, (group, number) in enumerate(workers):
        path, labels = f"/{WORKER}/{group}/{number}", {"group": group, "worker": str(number)}
        found.append(Source(WORKER, path, first_port + place, labels))
    return found


@dataclass(frozen=True)
class Host:
    """A host that is asked: its name, site (or empty), the ``ADDRESS:PORT`` of its front, and what it tells."""

    name: str
    site: str
    front: str
    sources: Sequence[Source]


def scrape_configs(hosts: Sequence[Host], connection: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Prometheus' `scrape_configs`: a job for each kind of program that some host has. ``connection`` has the options
    of the way to a front: authority, user, file of the password."""
    found = []
    for job, program in PROGRAMS.items():
        targets = [(host, source) for host in hosts for source in host.sources if source.job == job]
        if targets:
            found.append(
                {
                    "job_name": job,
                    "scheme": "https",
                    **connection,
                    "sample_limit": program.series,
                    "body_size_limit": f"{BODY_BYTES}B",
                    "label_limit": LABELS,
                    "label_value_length_limit": LABEL_CHARACTERS,
                    "static_configs": [_target(host, source) for host, source in targets],
                    "metric_relabel_configs": _kept(program),
                }
            )
    return found


def _kept(program: Program) -> list[dict[str, Any]]:
    return [{"source_labels": ["__name__"], "regex": program.keep, "action": "keep"}] if program.keep else []


def _target(host: Host, source: Source) -> dict[str, Any]:
    labels = {"instance": host.name, "__metrics_path__": source.path, **source.labels}
    site = {"site": host.site} if host.site and PROGRAMS[source.job].of_site else {}
    return {"targets": [host.front], "labels": labels | site}
