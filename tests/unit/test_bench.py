"""The benchmark's own judgement: what a figure is, when a goal is met, when a row is worse than its reference."""

from __future__ import annotations

import io
import itertools
import json
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import bench
from bench import GROUPS, clocks, cuts, group, memory, packets, scaling
from bench.basis import Basis, digest, given_packets
from bench.report import Report, goal, key, show
from bench.result import Context, Result, Series
from zads.packet import Packet
from zads.sources import simulator

MACHINE = {"cores": 2, "processor": "fast"}
BASIS = Basis("simulated", "0123456789abcdef", MACHINE)


def row(*ours: float, **more) -> Result:
    return Result("row", ours, "s", **more)


def test_costs_and_rates_both_say_how_many_times_as_fast_ours_is():
    cost = Result("row", (2.0, 4.0), "µs", "peer", (20.0, 20.0), "peer/ours")
    rate = Result("row", (20.0, 20.0), "/s", "peer", (2.0, 4.0), "ours/peer")
    assert cost.figures == rate.figures == [10.0, 5.0]
    assert (cost.median, cost.low, cost.high) == (7.5, 5.0, 10.0)


@pytest.mark.parametrize("wrong", [{"figure": "peer/ours"}, {"peer": "peer", "theirs": (1.0,)}])
def test_a_figure_of_two_sides_needs_both(wrong):
    with pytest.raises(ValueError, match="values of a peer"):
        row(1.0, **wrong)


def test_a_row_of_which_nothing_was_measured_is_refused():
    with pytest.raises(ValueError, match="nothing was measured"):
        row()


@pytest.mark.parametrize(
    ("sense", "goal", "reference", "said"),
    [
        ("at least", None, None, "measured"),
        ("at least", 10.0, None, "met"),
        ("at least", 11.0, None, "short"),
        ("at most", 10.0, None, "met"),
        ("at most", 9.0, None, "short"),
        # The rounds of the row are 9, 10 and 12.
        ("at least", 10.0, {"low": 13.0, "median": 14.0, "high": 15.0}, "worse"),
        ("at least", 10.0, {"low": 12.0, "median": 14.0, "high": 15.0}, "met"),  # the ranges touch
        ("at least", 10.0, {"low": 12.1, "median": 11.0, "high": 15.0}, "met"),  # less than a tenth apart
        ("at least", 11.0, {"low": 1.0, "median": 2.0, "high": 3.0}, "short"),  # better than it was
        ("at most", 10.0, {"low": 5.0, "median": 7.0, "high": 8.0}, "worse"),
        ("at most", 10.0, {"low": 5.0, "median": 7.0, "high": 9.0}, "met"),
        ("at most", 10.0, {"low": 15.0, "median": 17.0, "high": 19.0}, "met"),
    ],
)
def test_the_verdict_is_of_the_goal_unless_the_row_is_worse_than_its_reference(sense, goal, reference, said):
    assert row(9.0, 10.0, 12.0, goal=goal, sense=sense).verdict(reference) == said


RATIO = Result("row", (1.0,), "s", "peer", (3.0,), "peer/ours")
FASTER = Result("row", (1.0,), "s", "peer", (9.0,), "peer/ours")


def before(*rows: Result, basis: Basis = BASIS) -> dict[str, Any]:
    """The references that a run with these rows leaves."""
    report = Report(basis, "")
    for one in rows:
        report.add(one)
    return report.kept()


def test_a_row_is_worse_than_its_reference_on_the_same_packets_and_processors():
    report = Report(replace(BASIS, machine={**MACHINE, "kernel": "another"}), "", before(FASTER, row(1.0)))
    report.add(RATIO)
    report.add(row(9.0, sense="at most"))
    assert report.reference(RATIO) == {"median": 9.0, "low": 9.0, "high": 9.0}
    assert [report.verdict(one) for one in report.results] == ["worse", "worse"]
    assert (report.not_comparable, report.status) == ("", 1)


@pytest.mark.parametrize(
    ("basis", "reason"),
    [
        (replace(BASIS, machine={"cores": 64, "processor": "fast"}), "2 cores of fast, this run on 64 cores of fast"),
        (replace(BASIS, machine={"cores": 2, "processor": "slow"}), "2 cores of fast, this run on 2 cores of slow"),
        (replace(BASIS, digest="other"), "other packets"),
        (replace(BASIS, kind="real"), "no figures for packets of this kind"),
    ],
)
def test_a_run_on_another_machine_or_other_packets_is_not_comparable_and_no_row_is_worse(basis, reason):
    report = Report(basis, "", before(FASTER, row(1.0)))
    report.add(RATIO)
    report.add(row(9.0, goal=5.0, sense="at most"))
    assert [report.verdict(one) for one in report.results] == ["measured", "short"]
    assert report.status == 0
    assert report.not_comparable.startswith("not comparable with the reference: ")
    assert reason in report.not_comparable
    assert report.reference_text(RATIO) == "not comparable"
    assert report.not_comparable in report.html()
    assert json.loads(report.json())["not_comparable"] == report.not_comparable


def test_packets_are_the_same_in_any_order():
    assert digest([b"one", b"two"]) == digest([b"two", b"one"]) != digest([b"one", b"one"])


def test_the_committed_reference_says_what_it_was_measured_on():
    references = json.loads(Path(bench.__file__).with_name("reference.json").read_text())
    kind, simulated = given_packets(None)
    for found in references.values():
        assert Basis(kind, found["digest"], found["machine"]).difference(found) == ""
    assert kind in references
    assert len(simulated) == 200


def test_what_is_kept_replaces_the_rows_of_this_run_and_no_others():
    old = Result("old", (5.0,), "s")
    references = {**before(row(1.0), old), "real": {}}
    report = Report(BASIS, "", references)
    report.add(row(2.0, 3.0, 4.00001))
    kept = report.kept()
    assert kept["simulated"]["rows"] == {
        "old": {"median": 5.0, "low": 5.0, "high": 5.0},
        "row": {"median": 3.0, "low": 2.0, "high": 4.0},
    }
    assert kept["real"] == {}


def test_what_is_kept_of_another_machine_replaces_all_rows():
    elsewhere = replace(BASIS, machine={**MACHINE, "cores": 64})
    report = Report(elsewhere, "", before(row(1.0), Result("old", (5.0,), "s")))
    report.add(row(2.0))
    assert report.kept() == before(row(2.0), basis=elsewhere)


def test_a_row_that_is_not_compared_is_neither_worse_nor_kept():
    references = before(row(1.0))
    report = Report(BASIS, "", references)
    grown = row(9.0, goal=10.0, sense="at most", compared=False)
    assert report.verdict(grown) == "met"
    assert report.verdict(row(9.0, goal=10.0, sense="at most")) == "worse"
    report.add(grown)
    assert report.kept() == references


def test_two_rows_of_one_name_are_a_mistake():
    report = Report(BASIS, "")
    report.add(row(1.0))
    with pytest.raises(ValueError, match="two rows row"):
        report.add(row(2.0))


def test_table_json_and_page_show_every_row_and_plot():
    report = Report(BASIS, "about it")
    report.add(Result("cuts <&>", (2.0,), "µs", "loop", (20.0,), "peer/ours", 15.0, note="read so"))
    report.add(row(0.2, goal=0.25, sense="at most"))
    report.add(Series("Scaling", "filters", "µs", {"group": [(1, 2, 1, 3), (10, 20, 18, 22)]}, logarithmic=True))
    assert report.table().row_count == 2
    whole = json.loads(report.json())
    assert [one["verdict"] for one in whole["rows"]] == ["short", "met"]
    assert whole["series"][0]["lines"]["group"][1] == [10, 20, 18, 22]
    page = report.html()
    for told in ("cuts &lt;&amp;&gt;", "read so", "10.0 x", "at most 0.25", "<h2>Scaling</h2>"):
        assert told in page
    assert page.count("<svg") == 2


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.01234, "0.0123"), (1.5, "1.50"), (19.71, "19.7"), (123.4, "123"), (14450.0, "14,450")],
)
def test_a_value_is_shown_with_three_digits(value, text):
    assert show(value) == text


def test_goal_and_key_in_words():
    assert goal(row(1.0, goal=0.25, sense="at most")) == "at most 0.25"
    assert goal(row(1.0)) == ""
    assert key(Result("a", (1.0,), "s", "b", (1.0,), "peer/ours")) == "a | b"


def test_every_group_of_rows_is_a_module_that_measures():
    for name in GROUPS:
        module = __import__(f"bench.{name}", fromlist=["measure"])
        assert callable(module.measure), name


@pytest.fixture(scope="module")
def alerts() -> list[bytes]:
    return [data for _, visit in simulator.simulate("20181129", 1, 60) for _, data in visit]


def test_ours_passes_what_the_loop_passes(alerts):
    for rule, ours in (("candidate", packets.by_candidate), ("light curve", packets.by_light_curve)):
        expected = [cuts.RULES[rule](cuts.read(data)) for data in alerts]
        assert any(expected)
        assert list(map(ours, alerts)) == expected


@pytest.mark.parametrize("rule", ["candidate", "columns", "light curve"])
def test_the_group_passes_what_the_loop_passes(rule, alerts, tmp_path):
    same = "light curve" if rule == "light curve" else "candidate"
    with group.running(group.write(tmp_path / "filters", rule)) as running:
        assert running.passed(alerts) == [cuts.RULES[same](cuts.read(data)) for data in alerts]
        assert running.cost(alerts[:10]) > 0


def test_the_cost_of_a_call_is_its_processor_time_in_microseconds(monkeypatch):
    now = iter(range(1_000_000))
    monkeypatch.setattr(clocks.time, "process_time", lambda: float(next(now)))
    calls = []
    # The clock moves on by one second each time it is read: once before and once after three inputs.
    assert clocks.cost(calls.append, ["a", "b", "c"]) == pytest.approx(1e6 / 3)
    assert calls == ["a", "b", "c"]


def test_an_option_of_a_group_is_a_number(tmp_path):
    context = Context([], 3, print, tmp_path, tmp_path, {"alerts": "2000"})
    assert (context.number("alerts", 5), context.number("other", 5)) == (2000, 5)


def test_ways_that_take_turns_each_get_their_own_cost():
    found = clocks.together(
        {"much": (lambda n: sum(range(n)), [20_000] * 30), "little": (lambda n: sum(range(n)), [200] * 30)}
    )
    assert found["much"] > 10 * found["little"] > 0


@pytest.mark.parametrize(
    ("power", "beyond", "verdict"), [(1, 0, "met"), (0, 0, "met"), (1, 27, "met"), (2, 0, "short"), (1.3, 27, "short")]
)
def test_growth_is_met_up_to_linear(power, beyond, verdict):
    sizes = [30, 50, 75, 100, 150, 200]
    curve = scaling.Curve("curve", sizes, [[3 * (size - beyond) ** power] * 2 for size in sizes])
    grown = curve.growth("size", beyond)
    assert grown.median == pytest.approx(power)
    assert grown.verdict() == verdict


@pytest.mark.parametrize("size", scaling.KILOBYTES)
def test_packets_of_a_size_are_valid_and_half_light_curve(size):
    (data,) = scaling.of_size(1000 * size, 1)
    history = Packet.parse(data).read(("prv_candidates",))["prv_candidates"]
    assert len(data) == pytest.approx(1000 * size, rel=0.02)
    assert len(history) > size / 20


def _members(archive: bytes) -> list[bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        return [opened.extractfile(member).read() for member in opened]


def test_every_alert_of_the_long_run_is_a_valid_one_of_its_own():
    visits = [_members(archive) for _, archive in itertools.islice(memory.visits(), 3)]
    parsed = [[Packet.parse(data) for data in visit] for visit in visits]
    assert [len(visit) for visit in parsed] == [memory.VISIT] * 3
    assert len({packet.candid for visit in parsed for packet in visit}) == 3 * memory.VISIT
    assert [len({packet.visit for packet in visit}) for visit in parsed] == [1, 1, 1]
    assert len({visit[0].visit for visit in parsed}) == 3
    assert {packet.night for visit in parsed for packet in visit} == {memory.NIGHT}


def test_the_long_run_has_memory_allocated_as_the_image_does():
    assert memory.allocator().keys() == {"MALLOC_ARENA_MAX", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"}


def test_a_leak_is_a_slope_and_the_warm_up_is_not():
    flat = [(alerts, 100_000_000 + min(alerts, 20_000) * 1000) for alerts in range(0, 100_000, 1000)]
    leak = [(alerts, 100_000_000 + alerts * 50) for alerts in range(0, 100_000, 1000)]
    assert memory.slope_mb(flat, 100_000) == pytest.approx(0, abs=1e-6)
    assert memory.slope_mb(leak, 100_000) == pytest.approx(5.0)
