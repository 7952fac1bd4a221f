"""A plan rests on what was measured, grows with what is asked, and its examples are those of the documentation."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any, get_args

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from zads.commands.plan import app
from zads.errors import ZadsError
from zads.plan import figures, measured, needs, programs, verdict
from zads.plan.brokers import partitions_factor, site_need
from zads.plan.load import EXAMPLES, Demand, Filters, Readers, Survey, SurveyLoad, changed, of_policy
from zads.plan.machine import Machine
from zads.site.policy import Policy, PolicyError
from zads.site.sizes import GIB, MIB, size

ZTF = EXAMPLES["ztf-2018"]
HUGE = Machine(processors=10_000, memory_gib=1e6, disk_tb=1e6, network_gbit=1e6)
POLICY: dict[str, Any] = {
    "topics_night": {"partitions": 12, "replication_factor": 3, "min_insync_replicas": 2, "retention_days": 7},
    "programmes": {1: {"sites": ["origin", "public"]}, 2: {"sites": ["origin"]}, 3: {"sites": ["origin"]}},
    "users": [
        {"name": "reader", "site": "public", "programmes": [1]},
        {"name": "alice", "site": "public", "programmes": []},
        {"name": "partner", "site": "origin", "programmes": [1, 2]},
    ],
    "filters": [
        {"name": "bright", "owner": "alice", "group": "one", "state": "active"},
        {"name": "faint", "owner": "alice", "group": "two", "state": "off"},
    ],
    "filter_groups": {"one": {"workers": 1}, "two": {"workers": 1}},
}
LOAD = {"alerts_night": 1_200_000, "alerts_second": 1333, "packet_kb": 66, "programmes": {"1": 0.4, "2": 0.4, "3": 0.2}}


def the(name: str, part: str, plan: needs.Plan) -> figures.Figure:
    return next(one for one in figures.figures(plan) if (one.part, one.name) == (part, name))


# What is measured


def test_an_alert_of_2018_has_the_42_kb_on_a_disk_that_were_measured() -> None:
    assert ZTF.stored == pytest.approx(42_400, rel=0.01)


def test_the_measured_chain_is_what_the_plan_of_its_load_says() -> None:
    """The benchmark's public site: one programme, one subscriber, one group of a hundred filters, six partitions."""
    bench = Demand(
        SurveyLoad(alerts_night=10**6, alerts_second=1000, packet_kb=66, programmes={1: 1.0}, catching_up=0),
        frozenset({1}), (), Filters(100, 1, 1),
    )  # fmt: skip
    assert programs.workers_a_group(bench) == 1
    assert site_need(bench, "public", 3, 6).peak.processors == pytest.approx(1.48)
    assert site_need(bench, "origin", 3, 6).peak.processors == pytest.approx(1.03)


def test_partitions_cost_what_was_measured() -> None:
    assert [round(partitions_factor(one), 2) for one in (1, 4, 6, 16, 64, 1000)] == [1, 1, 1, 1.33, 1.52, 1.52]


# The figures of a plan, worked out by hand


def test_a_week_of_2018_takes_eight_nights_of_three_copies() -> None:
    need = needs.plan(ZTF).sites["origin"]
    assert need.nights == 8
    assert need.kept == pytest.approx(1_200_000 * 66_000 * 0.643 * 8 * 3)
    assert need.least_disk_each == pytest.approx(need.kept / need.brokers)
    assert need.disk_each == pytest.approx(need.kept / need.brokers * 1.2 / 0.9)


@pytest.mark.parametrize(("days", "nights"), [(0.5, 1), (0.75, 2), (1, 2), (6.9, 8), (7, 8), (14, 15)])
def test_a_night_leaves_the_disk_when_its_last_segment_is_old(days: float, nights: int) -> None:
    assert site_need(changed(ZTF, {"retention_days": days}), "origin", 3, 6).nights == nights


def test_the_public_site_has_the_public_programmes_and_what_filters_pass() -> None:
    need = needs.plan(ZTF).sites["public"]
    assert need.alerts_night == 480_000
    assert need.filters_night == pytest.approx(need.night * 100 * 0.002)
    assert need.kept == pytest.approx((need.night + need.filters_night) * 8 * 3)


def test_a_broker_sends_to_followers_readers_and_programs() -> None:
    demand = dataclasses.replace(
        ZTF, readers=(Readers("origin", frozenset({2}), 3), Readers("origin", frozenset(), 9)), filters=Filters()
    )
    need = site_need(changed(demand, {"catching_up": 0}), "origin", 3, 6)
    alert, fetched = ZTF.stored, measured.FETCHED
    assert need.peak.received == pytest.approx(1333 * alert * 3)
    assert need.peak.sent == pytest.approx(1333 * alert * (2 + fetched * (3 * 0.4 + 0.4)))
    assert need.network_each == pytest.approx(8 * need.peak.sent / 3 / 0.5)


def test_no_more_catch_up_than_there_are_readers() -> None:
    demand = changed(ZTF, {"readers": (), "catching_up": 50})
    assert site_need(demand, "public", 3, 6).catching_up == 0


def test_a_reader_may_read_the_peak_and_a_night_in_two_hours() -> None:
    night = site_need(changed(ZTF, {"alerts_second": 34}), "public", 3, 6)
    assert night.reader_limit == pytest.approx(480_000 / 7200 * ZTF.stored * measured.FETCHED)
    peak = site_need(ZTF, "public", 3, 6)
    assert peak.reader_limit == pytest.approx(1333 * 0.4 * ZTF.stored * measured.FETCHED)


def test_the_producers_default_memory_is_enough_for_2018_and_no_longer_for_two_million() -> None:
    default = size("768m")
    assert needs.plan(ZTF).producer.memory < default
    assert needs.plan(EXAMPLES["ztf-2-million"]).producer.memory > default


def test_a_site_without_public_programmes_needs_no_pace() -> None:
    plan = needs.plan(changed(ZTF, {"public": frozenset()}))
    assert plan.sites["public"].peak.processors == 0
    assert plan.mirror.processors == 0
    assert the("processors of a broker", "public", plan).value == 2


def test_smaller_machines_are_more() -> None:
    small = Machine(processors=4, memory_gib=16, disk_tb=1, network_gbit=1)
    many, few = needs.plan(ZTF, small), needs.plan(ZTF)
    assert many.sites["origin"].brokers > few.sites["origin"].brokers
    assert many.partitions >= max(one.brokers for one in many.sites.values())
    assert all(one.fits(small) for one in many.sites.values())


def test_machines_that_are_too_small_for_any_number_of_them_are_refused() -> None:
    with pytest.raises(ZadsError, match="1000 machines of 16 processors, 1 GiB of memory"):
        needs.plan(ZTF, Machine(memory_gib=1))


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_figure_of_an_example_has_a_value_and_a_reason_in_one_line(name: str) -> None:
    found = figures.figures(needs.plan(EXAMPLES[name]))
    assert len({(one.part, one.name) for one in found}) == len(found)
    for one in found:
        assert one.value > 0
        assert one.shown
        assert len(one.because) > 20
        assert "\n" not in one.because


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 KB"), (42_438, "42.4 KB"), (1.234e12, "1.23 TB"), (5e18, "5000 PB")],
)
def test_an_amount_is_read_at_a_glance(value: float, text: str) -> None:
    assert figures.amount(value, "B") == text


# More of anything never needs less of anything

loads = st.builds(
    lambda night, hours, burst, kb, parts, catching, part: SurveyLoad(
        alerts_night=night, night_hours=hours, alerts_second=burst * night / (hours * 3600), packet_kb=kb,
        programmes={number: value / sum(parts) for number, value in enumerate(parts, 1)},
        catching_up=catching, filter_part=part,
    ),
    st.integers(10_000, 10**7), st.floats(4, 14), st.floats(1.01, 50), st.floats(1, 500),
    st.lists(st.integers(1, 10), min_size=3, max_size=3), st.integers(0, 20), st.floats(0, 0.02),
)  # fmt: skip
demands = st.builds(
    Demand,
    loads,
    st.sampled_from([frozenset({1}), frozenset({1, 2}), frozenset({1, 2, 3}), frozenset()]),
    st.lists(
        st.builds(
            Readers,
            st.sampled_from(["origin", "public"]),
            st.sets(st.integers(1, 3)).map(frozenset),
            st.integers(0, 20),
        ),
        max_size=3,
    ).map(tuple),
    st.builds(Filters, st.integers(0, 300), st.integers(0, 40), st.integers(1, 8)),
    st.floats(0.5, 60),
    st.integers(2, 5),
)
MORE: dict[str, Callable[[Demand, float], Demand]] = {
    "alerts": lambda one, by: changed(
        one,
        {"alerts_night": int(one.load.alerts_night * by), "alerts_second": one.load.alerts_second * by},
    ),
    "burst": lambda one, by: changed(one, {"alerts_second": one.load.alerts_second * by}),
    "packet": lambda one, by: changed(one, {"packet_kb": min(4000, one.load.packet_kb * by)}),
    "retention": lambda one, by: changed(one, {"retention_days": one.retention_days * by}),
    "replicas": lambda one, by: changed(one, {"replicas": one.replicas + 1}),
    "readers": lambda one, by: changed(one, {"readers": (*one.readers, Readers("public", frozenset({1, 2, 3}), 3))}),
    "public": lambda one, by: changed(one, {"public": one.public | {2}}),
    "filters": lambda one, by: changed(
        one, {"filters": dataclasses.replace(one.filters, count=one.filters.count + 10)}
    ),
}
#: Of a site with as many brokers and partitions.
SITE = (
    "kept disk_each least_disk_each processors_each network_each heap memory_each replicas_each files_each reader_limit"
).split()


@pytest.mark.parametrize("more", MORE)
@settings(max_examples=50)
@given(demands, st.floats(1, 5), st.integers(3, 12), st.integers(6, 40))
def test_more_never_needs_less_of_a_site_that_stays(
    more: str, demand: Demand, by: float, brokers: int, partitions: int
) -> None:
    greater = MORE[more](demand, by)
    assume(brokers >= greater.replicas)
    for site in ("origin", "public"):
        less_need = site_need(demand, site, brokers, partitions)  # type: ignore[arg-type]
        more_need = site_need(greater, site, brokers, partitions)  # type: ignore[arg-type]
        for name in SITE:
            assert getattr(more_need, name) >= getattr(less_need, name) * (1 - 1e-9), (site, name)


@pytest.mark.parametrize("more", MORE)
@settings(max_examples=25)
@given(demands, st.floats(1, 5))
def test_more_never_needs_fewer_machines_or_partitions(more: str, demand: Demand, by: float) -> None:
    try:
        greater = needs.plan(MORE[more](demand, by))
    except ZadsError:
        return  # too much for any number of machines; what is less may be, too
    lesser = needs.plan(demand)
    assert greater.partitions >= lesser.partitions
    assert greater.machines >= lesser.machines
    for site, need in lesser.sites.items():
        assert greater.sites[site].brokers >= need.brokers


@settings(max_examples=50)
@given(demands)
def test_larger_machines_are_never_more(demand: Demand) -> None:
    try:
        planned = needs.plan(demand)
    except ZadsError:
        return
    assert needs.plan(demand, HUGE).machines <= planned.machines
    assert all(need.fits(Machine()) for need in planned.sites.values())


@settings(max_examples=50)
@given(demands)
def test_what_a_plan_has_is_never_refused(demand: Demand) -> None:
    """A host that is as the plan says has neither too little nor hardly enough."""
    try:
        plan = needs.plan(demand)
    except ZadsError:
        return
    for site, need in plan.sites.items():
        host = verdict.Host(
            frozenset({"kafka", f"{site}_kafka"}),
            {"kafka_heap": str(need.heap), "kafka_open_files": need.files_each},
            {},
        )
        disk = verdict.Disk(1, int(need.disk_each) + 1)
        facts = verdict.Facts(need.processors_each, need.memory_each, need.network_each + 1, {"/data": disk})
        assert verdict.of_settings(plan, host) == verdict.Verdict()
        assert verdict.of_facts(plan, host, facts, ["/data"], "") == verdict.Verdict()


# Data that people write


def test_an_inventorys_data_are_a_demand() -> None:
    demand = of_policy(LOAD, Policy.read(POLICY))
    assert demand.public == {1}
    assert demand.filters == Filters(count=1, owners=1, groups=1)
    assert [one.site for one in demand.at("public")] == ["public"]
    assert (demand.replicas, demand.retention_days) == (3, 7)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"alerts_night": 0}, "survey_load.alerts_night: 0 cannot be used: write the most alerts of a night"),
        ({"packet_kb": "big"}, "survey_load.packet_kb: 'big' cannot be used: write the mean size of a packet in KB"),
        ({"programmes": {1: 0.4}}, "do not add up to 1: write the part of each programme"),
        ({"programmes": {1: 1.5, 2: -0.5}}, "do not add up to 1"),
        ({"programmes": {1: 0.5, 9: 0.5}}, r"survey_load.programmes.9: is not in programmes: write only \[1, 2, 3\]"),
        ({"alerts_second": 5}, "survey_load.alerts_second: is 5, less than the night's mean of 33"),
        ({"alerts_second": float("nan")}, "survey_load.alerts_second: nan cannot be used"),
        ({"burst": 5}, "survey_load.burst: means nothing here: write one of alerts_night"),
    ],
)
def test_a_problem_of_the_load_names_the_variable_and_the_remedy(change: dict[str, Any], line: str) -> None:
    with pytest.raises(PolicyError, match=line):
        of_policy(LOAD | change, Policy.read(POLICY))


@pytest.mark.parametrize("text", ["", "0m", "m", "1.5g", "-1g", "{{ heap }}"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write a number and k, m or g"):
        size(text)


def test_every_survey_that_can_be_named_is_known() -> None:
    assert set(get_args(Survey)) == set(EXAMPLES)


# Compared with a deployment

PLAN = needs.plan_of(of_policy(LOAD, Policy.read(POLICY)), {"origin": 3, "public": 3}, 12)
BROKER = verdict.Host(
    frozenset({"kafka", "origin_kafka"}), {"kafka_heap": "6g", "kafka_open_files": 16384}, {"origin_kafka": 3}
)
GOOD = verdict.Facts(16, 64 * GIB, 10e9, {"/srv/1": verdict.Disk(1, 2 * 10**12), "/srv/2": verdict.Disk(2, 2 * 10**12)})
DATA = ["/srv/1", "/srv/2"]


def compare(host: verdict.Host = BROKER, **changes: Any) -> verdict.Verdict:
    return verdict.of_facts(PLAN, host, dataclasses.replace(GOOD, **changes), DATA, "/spool")


def test_a_production_machine_holds_2018() -> None:
    assert compare() == verdict.Verdict()
    assert verdict.of_settings(PLAN, BROKER) == verdict.Verdict()


@pytest.mark.parametrize(
    ("changes", "refused", "tight"),
    [
        ({"disks": {"/srv/1": verdict.Disk(1, 10**11), "/srv/2": verdict.Disk(2, 4 * 10**12)}}, "room for 200 GB", ""),
        ({"disks": {path: verdict.Disk(1, 350 * 10**9) for path in DATA}}, "room for 350 GB", ""),
        ({"disks": {path: verdict.Disk(1, 450 * 10**9) for path in DATA}}, "", "kafka_data has room for 450 GB"),
        ({"memory": 6 * GIB}, "it has 6 GiB of memory, and its daemons and programs need 8.1 GiB", ""),
        ({"memory": 9 * GIB}, "", "it has 9 GiB of memory"),
        ({"network": 1e6}, "it has 1 Mbit/s, and the night's mean takes", ""),
        ({"network": 1e9}, "", "it has 1 Gbit/s, and the peak takes"),
        ({"network": 0}, "", ""),
        ({"processors": 1}, "", "it has 1 processors, and the peak takes"),
    ],
)
def test_what_cannot_hold_is_refused_and_what_is_tight_is_said(
    changes: dict[str, Any], refused: str, tight: str
) -> None:
    found = compare(**changes)
    assert [refused in line for line in found.refused] == ([True] if refused else [])
    assert [tight in line for line in found.tight] == ([True] if tight else [])


def test_two_directories_on_one_disk_are_one_disk() -> None:
    one = compare(disks={path: verdict.Disk(1, 450 * 10**9) for path in DATA})
    two = compare(disks={path: verdict.Disk(number, 450 * 10**9) for number, path in enumerate(DATA)})
    assert one.tight
    assert not two.tight


def test_programs_on_one_machine_need_all_that_each_needs() -> None:
    apps = verdict.Host(frozenset({"producers", "mirrors", "workers"}), {"producer_memory": "512m"}, {"workers": 1})
    found = compare(apps, processors=2, memory=1 * GIB, disks={"/spool": verdict.Disk(1, 10**9)})
    assert any("programs need" in line for line in found.refused)
    assert any(line.startswith("/spool has room for 1 GB, and a night has 79.2 GB") for line in found.tight)
    assert verdict.of_settings(PLAN, apps).tight == ["producer_memory: is 512m, and the plan needs 728 MiB"]


def test_settings_that_are_too_small_are_named() -> None:
    broker = dataclasses.replace(BROKER, settings={"kafka_heap": "320m", "kafka_open_files": 100})
    found = verdict.of_settings(PLAN, broker)
    assert found.tight == ["kafka_heap: is 320m, and the plan needs 1 GiB"]
    assert [line.split(",")[0] for line in found.refused] == ["kafka_open_files: is 100"]


@pytest.mark.parametrize("settings", [{"kafka_heap": "much"}, {"kafka_open_files": "many"}])
def test_a_setting_that_cannot_be_read_is_refused_in_one_line(settings: dict[str, str]) -> None:
    found = verdict.of_settings(PLAN, dataclasses.replace(BROKER, settings=settings))
    assert [line.partition(":")[0] for line in found.refused] == list(settings)


def test_few_partitions_and_workers_are_tight_and_too_many_replicas_refused() -> None:
    few = POLICY | {
        "topics_night": POLICY["topics_night"] | {"partitions": 2},
        "filter_groups": {"one": {"workers": 0}, "two": {}},
    }
    policy = Policy.read(few)
    plan = needs.plan_of(of_policy(LOAD, policy), {"origin": 3, "public": 3}, 2)
    assert [line.partition(":")[0] for line in verdict.of_policy(plan, policy).tight] == [
        "topics_night.partitions", "filter_groups.one.workers",
    ]  # fmt: skip
    many = Policy.read(POLICY | {"topics_night": POLICY["topics_night"] | {"partitions": 500}})
    plan = needs.plan_of(of_policy(LOAD, many), {"origin": 3, "public": 3}, 500)
    assert len(verdict.of_policy(plan, many).refused) == 2


def test_a_pace_beyond_one_producer_is_said_before_machines_are_bought() -> None:
    assert verdict.of_demand(ZTF) == verdict.Verdict()
    assert verdict.of_demand(changed(ZTF, {"alerts_second": 3000})).tight
    assert verdict.of_demand(changed(ZTF, {"alerts_night": 300_000_000, "alerts_second": 9000})).refused


# The command


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


def test_the_command_shows_each_figure_with_its_reason() -> None:
    result = run("--like", "rubin")
    assert result.exit_code == 0
    assert "10,000,000 alerts in 10 hours" in result.stdout


def test_options_change_an_examples_numbers_and_json_has_them_all() -> None:
    result = run(
        "--alerts-night", "100000", "--alerts-second", "50", "--programme", "1=1", "--public", "1", "--readers",
        "public:1:30", "--retention-days", "14", "--replicas", "2", "--filters", "3", "--owners", "1",
        "--groups", "1", "--json",
    )  # fmt: skip
    found = {(one["part"], one["name"]): one["value"] for one in json.loads(result.stdout)["figures"]}
    assert found["origin", "all copies"] == pytest.approx(100_000 * ZTF.stored * 15 * 2)
    assert found["public", "heap of a broker"] == GIB
    assert found["workers", "of a group"] == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--alerts-second", "5"], "--alerts-second: is 5, less than the night's mean"),
        (["--programme", "1=0.5"], "--programme: the parts {1: 0.5} do not add up to 1"),
        (["--packet-kb", "-1"], "--packet-kb: -1.0 cannot be used"),
    ],
)
def test_impossible_numbers_are_refused_by_the_options_name(arguments: list[str], words: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 1
    assert words in str(result.exception)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--readers", "moon:1:3"],
        ["--programme", "one"],
        ["--filters", "-1"],
        ["--env", "local", "--filters", "3"],
        ["--env", "prod", "--machine-disk-tb", "3"],
    ],
)
def test_wrong_use_is_status_2(arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


def test_a_pace_that_no_machine_holds_ends_with_status_1() -> None:
    result = run("--alerts-night", "300000000", "--alerts-second", "9000")
    assert result.exit_code == 1
    assert "REFUSED survey_load.alerts_night" in result.stdout


def test_the_plan_of_production_refuses_nothing() -> None:
    result = run("--env", "prod")
    assert result.exit_code == 0, result.output
    assert "REFUSED" not in result.stdout
    assert "TIGHT" not in result.stdout
    assert "those of the inventory" in result.stdout
    assert "altogether" not in result.stdout


def test_an_inventory_without_a_load_says_how_to_state_one() -> None:
    result = run("--env", "local")
    assert "states no load; write survey_load" in str(result.exception)


def test_memory_is_written_as_it_is_bought() -> None:
    assert [figures.memory(one) for one in (512 * MIB, GIB, 1.5 * GIB, 100 * GIB)] == [
        "512 MiB", "1 GiB", "1.5 GiB", "100 GiB",
    ]  # fmt: skip
