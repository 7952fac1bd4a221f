"""How a plan for replicas is carried out: what it refuses, what it says, and what of it is left."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from zads.site import gate, moving
from zads.site.broker_requests import LogDirectory, Place, Reassignment
from zads.site.moving import Task, View, Work
from zads.site.placement import Move, PlanError

MB = 1_000_000
RACKS = {1: "a", 2: "b", 3: "c", 4: "d"}
ONE = Move("night", 0, (1, 2, 3), (4, 2, 3))
LEADER = Move("night", 1, (2, 3, 1), (3, 2, 1))


def view(
    *partitions: tuple[int, tuple[int, ...]], copied: int = 0, free: int = 900, moving: tuple[Reassignment, ...] = ()
) -> View:
    """A site with four brokers and one topic, whose partitions have 100 MB each; ``copied`` bytes of each are at 4."""
    described = tuple(
        gate.PartitionState("night", number, replicas[0], replicas, frozenset(replicas))
        for number, replicas in partitions
    )
    sizes: dict[int, dict[Place, int]] = {broker: {} for broker in RACKS}
    for number, replicas in partitions:
        for broker in replicas:
            sizes[broker]["night", number] = 100 * MB
        if copied:
            sizes[4]["night", number] = copied
    disks = {broker: (LogDirectory("/data", True, 1000 * MB, free * MB),) for broker in RACKS}
    cluster = gate.Cluster(frozenset(RACKS), 1, described, {"night": 2}, disks, moving)
    return View(cluster, dict.fromkeys(RACKS, ("host", 9093)), sizes)


def test_a_plan_is_refused_if_a_broker_would_be_too_full() -> None:
    site = view((0, (1, 2, 3)), (1, (2, 3, 1)), (2, (3, 1, 2)), (3, (1, 2, 3)), free=320)
    assert moving.planned(Task(RACKS, free_percent=2), site)
    with pytest.raises(
        PlanError, match=r"broker 4 would get 300.0 MB and has 320.0 MB free: less than 5 % would be left"
    ):
        moving.planned(Task(RACKS, free_percent=5), site)


def test_a_broker_that_nobody_knows_is_not_emptied_by_mistake() -> None:
    with pytest.raises(PlanError, match="the inventory does not have broker 3, which has replicas"):
        moving.planned(Task({1: "", 2: "", 4: ""}), view((0, (1, 2, 3))))
    assert moving.planned(Task({1: "", 2: "", 4: ""}, leaving=frozenset({3})), view((0, (1, 2, 3))))
    with pytest.raises(PlanError, match="broker 4 cannot both stay and leave"):
        moving.planned(Task(RACKS, leaving=frozenset({4})), view())


def test_a_plan_counts_the_replicas_that_a_partition_will_have_when_its_copies_end() -> None:
    coming = view((0, (1, 2, 3, 4)), moving=(Reassignment("night-0", (4,), (3,)),))
    assert moving.planned(Task({1: "", 2: "", 3: ""}, frozenset({4}), spread=False), coming) == [
        Move("night", 0, (1, 2, 4), (1, 2, 3))
    ]


def test_copies_to_a_broker_that_is_away_are_named_since_they_never_end() -> None:
    site = view((0, (1, 2, 3, 4)), moving=(Reassignment("night-0", (4,), (3,)),))
    assert moving.endless(site) == []
    dead = replace(site, cluster=replace(site.cluster, brokers=frozenset({1, 2, 3})))
    assert moving.endless(dead) == ["copies to broker 4 do not end while it is away: end them with CANCEL=1"]


def test_a_plan_says_how_much_it_copies_and_how_long_that_takes() -> None:
    site = view((0, (1, 2, 3)), (1, (2, 3, 1)))
    said = moving.summary([ONE, LEADER], site, Task(RACKS, rate=MB))
    assert said == (
        "replicas to copy: 1, 100.0 MB, which takes 2 minutes or more at 1.0 MB/s a broker; "
        "partitions that only get another leader: 1"
    )


def test_progress_counts_what_has_arrived() -> None:
    work = Work((ONE,), 3, 200 * MB)
    assert moving.progress(work, view((0, (1, 2, 3)), copied=40 * MB)) == (
        "2 of 3 partitions moved, 70 % of 200.0 MB copied"
    )
    assert moving.progress(Work((LEADER,), 1, 0), view((1, (2, 3, 1)))) == "0 of 1 partitions moved"


def test_the_copies_alone_are_bounded_where_they_are_read_and_written() -> None:
    assert moving.bounds([ONE, LEADER]) == {
        "night": {
            "leader.replication.throttled.replicas": "0:1,0:2,0:3",
            "follower.replication.throttled.replicas": "0:4",
        }
    }
    assert moving.bounds([LEADER]) == {}


def test_what_is_done_or_no_longer_fits_is_not_left() -> None:
    work = Work((ONE, LEADER), 2, 0)
    present = {("night", 0): ONE.before, ("night", 1): LEADER.before}
    assert moving.remaining(work, present, frozenset()).left == (ONE, LEADER)
    assert moving.remaining(work, {**present, ("night", 0): ONE.after}, frozenset()).left == (LEADER,)
    assert moving.remaining(work, {("night", 0): (9, 2, 3)}, frozenset()).left == ()
    assert moving.remaining(work, {("night", 0): (4, 1, 2, 3)}, frozenset({"night-0"})).left == (ONE,)


class Site(moving.Mover):
    """A mover whose site answers with given views, and that notes what it would change."""

    def __init__(self, *views: View) -> None:
        self.views = list(views)
        self.done: list[Any] = []

    def view(self) -> View:
        return self.views.pop(0) if len(self.views) > 1 else self.views[0]

    def begin(self, task: Task, view: View, left: Any, now: Any) -> None:
        self.done.append([move.place for move in now])

    def clear(self, view: View) -> None:
        self.done.append("clear")

    def elect(self, cluster: gate.Cluster) -> None:
        self.done.append("elect")


def test_copies_under_way_are_followed_and_not_begun_again() -> None:
    under_way = Reassignment("night-0", (4,), (1,))
    site = Site(view((0, (4, 1, 2, 3)), moving=(under_way,)))
    assert site.step(Task(RACKS), None) == (None, ["follows the copies that are under way: night-0"])
    work = Work((ONE,), 1, 0)
    assert site.step(Task(RACKS), work) == (work, ["0 of 1 partitions moved"])
    assert site.done == []


def test_no_more_run_at_once_than_wanted() -> None:
    site = Site(view(*((number, (1, 2, 3)) for number in range(6))))
    work, said = site.step(Task(RACKS, at_once=2), None)
    assert work is not None
    assert said[0].startswith(f"0 of {work.moves} partitions moved")
    assert len(site.done[0]) == 2


def test_at_the_end_the_bounds_go_and_leaders_return() -> None:
    site = Site(view((0, (1, 2, 3))))
    assert site.step(Task({1: "", 2: "", 3: ""}), None) == (None, [])
    assert site.done == ["clear", "elect"]


def test_nothing_begins_on_a_site_that_is_not_whole() -> None:
    whole = view(*((number, (1, 2, 3)) for number in range(4)))
    away = View(gate.Cluster(frozenset({1, 2, 4}), 1, whole.cluster.partitions), whole.addresses, whole.sizes)
    site = Site(away)
    work, said = site.step(Task(RACKS, doing={3: "starts"}), None)
    assert work is not None
    assert said == ["already away: broker 3 (starts)"]
    assert site.done == []


def test_a_plan_survives_from_one_call_of_the_module_to_the_next(plugin: Any) -> None:
    module = plugin("modules/kafka_reassign.py")
    work = Work((ONE, LEADER), 5, 7)
    assert module.known(module.carried(work, True)) == work
    assert module.known(module.carried(None, False)) is None
