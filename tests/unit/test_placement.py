"""Plans for replicas: complete, over racks, even, with no move too many, and nothing to do the second time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zads.site.placement import Move, PlanError, plan

Present = dict[tuple[str, int], tuple[int, ...]]
NO_RACKS = dict.fromkeys(range(1, 8), "")


def after(present: Mapping[tuple[str, int], tuple[int, ...]], moves: list[Move]) -> Present:
    return {**present, **{move.place: move.after for move in moves}}


def rings(topic: str, partitions: int, brokers: list[int], replicas: int = 3) -> Present:
    """A topic placed as Kafka does it on these brokers."""
    several = [*brokers, *brokers]
    return {(topic, number): tuple(several[number % len(brokers) :][:replicas]) for number in range(partitions)}


@st.composite
def sites(draw: st.DrawFn) -> tuple[Present, dict[int, str]]:
    """Any placement on brokers 1 to 7, and the brokers with racks that are to have it."""
    replicas = draw(st.integers(1, 3))
    targets = draw(st.sets(st.integers(1, 7), min_size=replicas, max_size=6))
    racks = {broker: draw(st.sampled_from(["a", "b", "c"])) for broker in sorted(targets)}
    if draw(st.booleans()):
        racks = dict.fromkeys(racks, "")
    present: Present = {}
    for topic in ("ledger", "night", "offsets")[: draw(st.integers(1, 3))]:
        for number in range(draw(st.integers(1, 9))):
            shuffled = draw(st.permutations(range(1, 8)))
            present[topic, number] = tuple(shuffled[:replicas])
    return present, racks


@given(sites())
def test_every_partition_keeps_its_number_of_replicas_on_brokers_that_may_have_them(
    site: tuple[Present, dict[int, str]],
) -> None:
    present, racks = site
    for spread in (True, False):
        for place, replicas in after(present, plan(present, racks, spread=spread)).items():
            assert len(set(replicas)) == len(replicas) == len(present[place])
            assert set(replicas) <= set(racks)


@given(sites())
def test_replicas_are_on_as_many_racks_as_there_are(site: tuple[Present, dict[int, str]]) -> None:
    present, racks = site
    named = {broker: rack or str(broker) for broker, rack in racks.items()}
    for replicas in after(present, plan(present, racks)).values():
        assert len({named[broker] for broker in replicas}) == min(len(replicas), len(set(named.values())))


@given(sites())
def test_a_planned_placement_stays_as_it_is(site: tuple[Present, dict[int, str]]) -> None:
    present, racks = site
    for spread in (True, False):
        first = after(present, plan(present, racks, spread=spread))
        assert plan(first, racks, spread=spread) == []


@given(sites())
def test_without_racks_each_topic_and_its_leaders_are_even(site: tuple[Present, dict[int, str]]) -> None:
    present, racks = site
    found = after(present, plan(present, dict.fromkeys(racks, "")))
    for topic in {name for name, _ in found}:
        mine = [replicas for (name, _), replicas in found.items() if name == topic]
        for chosen in ([broker for replicas in mine for broker in replicas], [replicas[0] for replicas in mine]):
            load = Counter(chosen)
            counts = [load[broker] for broker in racks]
            assert max(counts) - min(counts) <= 1


@given(sites())
def test_no_replica_is_copied_to_a_broker_that_then_loses_another(site: tuple[Present, dict[int, str]]) -> None:
    """For one topic without racks, no plan to the same loads copies less."""
    present, racks = site
    one = {place: replicas for place, replicas in present.items() if place[0] == "night"} or present
    one = {place: replicas for place, replicas in one.items() if place[0] == next(iter(one))[0]}
    moves = plan(one, dict.fromkeys(racks, ""))
    was = Counter(broker for replicas in one.values() for broker in replicas)
    now = Counter(broker for replicas in after(one, moves).values() for broker in replicas)
    copies = Counter(broker for move in moves for broker in move.adds)
    leaving = any(broker not in racks for replicas in one.values() for broker in replicas)
    assert leaving or copies == Counter(
        {broker: now[broker] - was[broker] for broker in now if now[broker] > was[broker]}
    )


@given(sites())
def test_without_spreading_only_replicas_on_leaving_brokers_move(site: tuple[Present, dict[int, str]]) -> None:
    present, racks = site
    for move in plan(present, racks, spread=False):
        assert set(move.before) - set(move.after) == set(move.before) - set(racks)


def test_a_fourth_broker_gets_its_share_of_every_night_and_leads_a_quarter() -> None:
    present = rings("night", 16, [1, 2, 3]) | rings("other", 16, [2, 3, 1])
    moves = plan(present, {1: "a", 2: "b", 3: "c", 4: "d"})
    assert sum(len(move.adds) for move in moves) == 24, "a quarter of the replicas, and no other"
    found = after(present, moves)
    for topic in ("night", "other"):
        mine = [replicas for (name, _), replicas in found.items() if name == topic]
        assert sum(4 in replicas for replicas in mine) == 12
        assert Counter(replicas[0] for replicas in mine) == {1: 4, 2: 4, 3: 4, 4: 4}


def test_a_second_broker_in_a_rack_shares_with_the_first_and_racks_stay_apart() -> None:
    present = rings("night", 16, [1, 2, 3])
    found = after(present, plan(present, {1: "a", 2: "b", 3: "c", 4: "a"}))
    assert all(not {1, 4} <= set(replicas) for replicas in found.values())
    assert sum(4 in replicas for replicas in found.values()) == 8
    assert all({2, 3} <= set(replicas) for replicas in found.values())


def test_topics_of_one_partition_are_shared_out_as_well() -> None:
    present: Present = {(f"filter-{number}", 0): (1, 2, 3) for number in range(40)}
    found = after(present, plan(present, dict.fromkeys((1, 2, 3, 4), "")))
    assert Counter(broker for replicas in found.values() for broker in replicas) == dict.fromkeys((1, 2, 3, 4), 30)
    assert Counter(replicas[0] for replicas in found.values()) == dict.fromkeys((1, 2, 3, 4), 10)


def test_a_site_moves_to_new_brokers_in_one_plan() -> None:
    present = rings("night", 16, [1, 2, 3])
    moves = plan(present, {4: "a", 5: "b", 6: "c"}, spread=False)
    assert all(sorted(move.after) == [4, 5, 6] for move in moves)
    assert max(Counter(move.after[0] for move in moves).values()) == 6


def test_a_balanced_site_needs_no_move() -> None:
    assert plan(rings("night", 16, [1, 2, 3]), {1: "a", 2: "b", 3: "c"}) == []
    assert plan({}, {1: ""}) == []


def test_too_few_brokers_are_refused() -> None:
    with pytest.raises(PlanError, match="night-0 has 3 replicas, and 2 brokers would be left; add a broker first"):
        plan(rings("night", 3, [1, 2, 3]), {1: "", 2: ""})


def test_a_move_says_what_it_does() -> None:
    move = Move("night", 3, (1, 2, 3), (4, 2, 3))
    assert (str(move), move.adds, move.place) == ("night-3: 1,2,3 becomes 4,2,3", (4,), ("night", 3))
    assert Move("night", 3, (1, 2), (2, 1)).adds == ()
