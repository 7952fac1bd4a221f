"""What programs tell Prometheus: bounded, whatever comes, and right about how long each hop took."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase

from zads import metrics, names, rejections
from zads.filters import measuring
from zads.filters.counts import Counts
from zads.filters.records import AlertRecord
from zads.julian import MJD_EPOCH_JD, UNIX_EPOCH_JD

DECLARED = [one for one in vars(metrics).values() if isinstance(one, MetricWrapperBase)]
ROOT = Path(__file__).resolve().parents[2]


def value(name: str, **labels: str) -> float:
    """A number as Prometheus would read it; 0 if there is no such series yet."""
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_every_label_is_bounded_and_every_bound_is_of_a_label() -> None:
    used = {label for one in DECLARED for label in one._labelnames}
    assert used == set(metrics.LABELS)
    assert not used & {"topic", "night", "user", "candid", "visit", "exposure", "object"}


def test_every_metric_of_ours_says_whose_it_is_and_is_set_somewhere() -> None:
    code = "".join(path.read_text() for path in (ROOT / "src/zads").rglob("*.py"))
    for name, one in vars(metrics).items():
        if isinstance(one, MetricWrapperBase):
            assert one.describe()[0].name.startswith("zads_")
            assert re.search(rf"metrics\.{name}\b", code), f"nothing sets {name}"


@pytest.mark.parametrize("program", ["producer", "worker", "nights", "audit", "board", "archive", "canary"])
def test_a_program_tells_its_own_metrics_alone(program: str) -> None:
    told = {family.name for family in metrics.of_program(program).collect()}
    ours = {name for one in DECLARED if (name := one.describe()[0].name).startswith(f"zads_{program}_")}
    assert {name for name in told if not name.startswith("process_")} == ours


def test_every_metric_is_told_by_a_program_that_serves_it() -> None:
    code = "".join(path.read_text() for path in (ROOT / "src/zads").rglob("*.py"))
    served = set(re.findall(r'metrics\.serve\(\w+, "(\w+)"', code))
    assert {one.describe()[0].name.split("_")[1] for one in DECLARED} == served


@pytest.mark.parametrize(
    ("field", "kind"),
    [
        ("", "file"),
        ("block", "file"),
        ("header", "schema"),
        ("candidate.jd", "date"),
        ("candidate.programid", "programme"),
        ("candidate.magpsf", "value"),
        ("prv_candidates[17].jd", "value"),
        ("\x00" * 300, "value"),
    ],
)
def test_whatever_a_file_is_refused_for_has_one_of_six_kinds(field: str, kind: str) -> None:
    record = rejections.rejection(b"k", b"v", source="s", reason="r", field=field)
    assert rejections.kind(record) == kind
    assert len({*rejections.KINDS.values(), rejections.OTHER_KIND}) == 6


class Message:
    """A record as Kafka gives it, as far as this module looks: its timestamp in milliseconds."""

    def __init__(self, kind: int, milliseconds: int) -> None:
        self._timestamp = kind, milliseconds

    def timestamp(self) -> tuple[int, int]:
        return self._timestamp


def alert(produced: str, arrived: float, visit: str, *, kind: int = 2) -> AlertRecord:
    message: Any = Message(kind, round(1000 * arrived))
    return AlertRecord(message, b"x" * 10, "20181129", 1, "1", visit, [(names.HEADER_PRODUCED, produced.encode())])


def test_each_hop_is_timed_from_where_the_one_before_it_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring.time, "time", lambda: 1_000_007.0)
    visit = f"{999_990 / 86_400 + UNIX_EPOCH_JD - MJD_EPOCH_JD:.5f}"
    hops = ("latency", "public", "judged", "candidate")
    before = {hop: value(f"zads_worker_{hop}_seconds_sum") for hop in hops}
    measuring.committed([alert("1000000.0", 1_000_002.0, visit)], {}, {})
    took = {hop: value(f"zads_worker_{hop}_seconds_sum") - before[hop] for hop in hops}
    assert took["latency"] == pytest.approx(7.0)
    assert took["public"] == pytest.approx(2.0)
    assert took["judged"] == pytest.approx(5.0)
    assert took["candidate"] == pytest.approx(12.0, abs=1.0)  # a visit's name resolves 0.9 s


@pytest.mark.parametrize("produced", ["", "soon", "nan", "inf", "1e999"])
def test_a_header_that_is_no_time_spoils_no_sum(produced: str) -> None:
    before = value("zads_worker_latency_seconds_count")
    measuring.committed([alert(produced, 1.0, "no visit", kind=0)], {}, {})
    assert value("zads_worker_latency_seconds_count") == before
    for hop in ("latency", "public", "judged", "candidate"):
        assert value(f"zads_worker_{hop}_seconds_sum") < float("inf")


def test_a_clock_that_is_behind_makes_no_negative_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring.time, "time", lambda: 100.0)
    before = value("zads_worker_latency_seconds_sum")
    measuring.committed([alert("105.0", 103.0, "")], {}, {})
    assert value("zads_worker_latency_seconds_sum") == before


def test_counts_of_a_filter_grow_by_what_the_batch_added() -> None:
    start = value("zads_worker_skipped_total", filter="f"), value("zads_worker_bytes_total")
    before, after = {"f": Counts(seen=5, passed=2, skipped=1)}, {"f": Counts(seen=9, passed=4, skipped=3)}
    measuring.committed([alert("1", 1.0, "")], before, after)
    assert value("zads_worker_passed_total", filter="f") == 2
    assert value("zads_worker_skipped_total", filter="f") - start[0] == 2
    assert value("zads_worker_bytes_total") - start[1] == 10
