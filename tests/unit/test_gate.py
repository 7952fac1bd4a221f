"""The gate refuses every stop that would make a partition unwritable, and no other."""

import pytest

from zads.site.broker_requests import LogDirectory, Reassignment
from zads.site.gate import (
    Cluster,
    Operation,
    PartitionState,
    may_move,
    may_replace,
    may_start_empty,
    may_stop,
    misplaced,
    not_recovered,
)


def partition(replicas, isr, leader=0, topic="night", number=0):
    chosen = (isr[0] if isr else None) if leader == 0 else leader
    return PartitionState(topic, number, chosen, tuple(replicas), frozenset(isr))


def cluster(*partitions, brokers=(1, 2, 3), controller=1, minimum=2, **more):
    return Cluster(frozenset(brokers), controller, partitions, {"night": minimum}, **more)


ALL = Operation(frozenset({1, 2, 3}))


@pytest.mark.parametrize(
    ("broker", "described", "says"),
    [
        pytest.param(1, cluster(partition([1, 2, 3], [1, 2, 3])), None, id="all in sync"),
        pytest.param(1, cluster(), None, id="a cluster without topics"),
        pytest.param(1, cluster(partition([1, 2, 3], [1, 2])), "in sync 1,2", id="ISR at its minimum"),
        pytest.param(3, cluster(partition([1, 2, 3], [1, 2])), None, id="behind, and not missed"),
        pytest.param(3, cluster(partition([1, 2, 3], [1])), "too few", id="behind, ISR below its minimum"),
        pytest.param(1, cluster(partition([1, 2, 3], [1])), "too few", id="the last replica in sync"),
        pytest.param(
            1,
            cluster(partition([1, 2, 3], [1, 2, 3]), brokers=(1, 2)),
            "already away: broker 3",
            id="another broker away, though its partitions would allow it",
        ),
        pytest.param(1, cluster(brokers=(1,)), "already away: brokers 2, 3", id="two brokers away, no partition"),
        pytest.param(3, cluster(partition([1, 2, 3], [1, 2]), brokers=(1, 2)), None, id="itself away"),
        pytest.param(
            1,
            cluster(partition([1, 2], [1, 2])),
            None,
            id="as many replicas as the minimum: no order of restarts helps",
        ),
        pytest.param(1, cluster(partition([1], [1])), None, id="one replica, minimum two"),
        pytest.param(1, cluster(partition([1, 2, 3], [1, 2]), minimum=1), None, id="minimum one, one left"),
        pytest.param(1, cluster(partition([1, 2, 3], [], leader=None)), "offline: night-0", id="offline partition"),
        pytest.param(1, cluster(partition([2, 3], [2], leader=2)), None, id="someone else's partition is short"),
    ],
)
def test_a_broker_goes_down_only_when_every_partition_stays_writable(broker, described, says):
    reasons = may_stop(broker, described, ALL)
    assert (says in "; ".join(reasons)) if says else reasons == []


def test_every_reason_is_given_and_long_lists_are_cut():
    many = [partition([1, 2, 3], [1, 2], number=n) for n in range(40)]
    reasons = may_stop(1, cluster(*many, partition([1, 2, 3], [], leader=None), brokers=(1, 2)), ALL)
    assert len(reasons) == 3
    assert "and 35 more" in reasons[-1]


def test_a_broker_is_back_when_registered_and_every_replica_is_in_sync():
    assert not_recovered(3, cluster(partition([1, 2, 3], [1, 2, 3]))) == []
    assert not_recovered(3, cluster(brokers=(1, 2))) == ["not registered: broker 3"]
    assert "night-0 (in sync 1,2 of 1,2,3)" in not_recovered(3, cluster(partition([3, 1, 2], [1, 2])))[0]


def test_a_preferred_leader_in_sync_takes_its_partition_back():
    strayed = partition([1, 2, 3], [1, 2, 3], leader=2)
    assert misplaced(cluster(strayed, partition([2, 1], [2, 1], leader=2, number=1))) == [strayed]
    assert misplaced(cluster(partition([1, 2], [2], leader=2), partition([1, 2], [], leader=None))) == []


def disk(free, usable=True):
    return LogDirectory("/data", usable, 1000, free)


@pytest.mark.parametrize(
    ("described", "operation", "says"),
    [
        pytest.param(
            cluster(controller=1),
            Operation(later=frozenset({1, 2, 3})),
            "broker 1 is the controller and has to be the last: brokers 2, 3 must restart before it",
            id="a controller that is not the last",
        ),
        pytest.param(cluster(controller=1), Operation(later=frozenset({1})), None, id="the controller, at last"),
        pytest.param(cluster(controller=2), Operation(later=frozenset({2, 3})), None, id="another is the controller"),
        pytest.param(cluster(controller=-1), ALL, "no broker is the controller", id="no controller"),
        pytest.param(
            cluster(brokers=(1, 2)),
            Operation(frozenset({1, 2, 3}), doing={3: "recovers its logs after an unclean end, 2 of 9 done"}),
            "already away: broker 3 (recovers its logs after an unclean end, 2 of 9 done)",
            id="log recovery under way",
        ),
        pytest.param(
            cluster(reassignments=(Reassignment("night-0", (4,), (1,)),)),
            ALL,
            "a reassignment is running: night-0 (to 4, from 1)",
            id="a reassignment is running",
        ),
        pytest.param(
            cluster(directories={2: [disk(49)]}),
            Operation(free_percent=5),
            "a disk is nearly full: /data of broker 2 has 4 % free (0 MB), 5 % is the least",
            id="a disk is nearly full",
        ),
        pytest.param(cluster(directories={2: [disk(50)]}), Operation(free_percent=5), None, id="room on every disk"),
        pytest.param(cluster(directories={2: [disk(0)]}), Operation(free_percent=0), None, id="no bound for disks"),
        pytest.param(
            cluster(directories={3: [disk(900), disk(900, usable=False)]}),
            ALL,
            "the broker cannot use its disk: /data of broker 3",
            id="a disk has failed",
        ),
        pytest.param(
            cluster(directories={3: [LogDirectory("/data", True, -1, -1)]}),
            Operation(free_percent=5),
            None,
            id="a broker that does not know its disk's size",
        ),
    ],
)
def test_a_restart_waits_for_the_rest_of_the_site(described, operation, says):
    assert may_stop(1, described, operation) == ([says] if says else [])


def test_a_broker_that_is_not_back_is_named_with_what_it_does():
    described = cluster(brokers=(1, 2))
    assert not_recovered(3, described, {3: "starts"}) == ["not registered: broker 3 (starts)"]


WHOLE = partition([1, 2, 3], [1, 2, 3])


@pytest.mark.parametrize(
    ("described", "says"),
    [
        pytest.param(cluster(WHOLE), [], id="all in sync"),
        pytest.param(cluster(partition([1, 2, 3], [2, 3]), brokers=(2, 3)), [], id="away, the others whole"),
        pytest.param(
            cluster(partition([1, 2, 3], [3]), brokers=(2, 3)),
            ["too few replicas in sync without broker 1"],
            id="away, and another behind",
        ),
        pytest.param(cluster(WHOLE, brokers=(1, 2)), ["already away: broker 3"], id="another broker away"),
        pytest.param(cluster(WHOLE, directories={1: [disk(0, usable=False)]}), [], id="its own disk has failed"),
        pytest.param(
            cluster(WHOLE, directories={2: [disk(0, usable=False)]}),
            ["the broker cannot use its disk: /data of broker 2"],
            id="another's disk has failed",
        ),
        pytest.param(
            cluster(partition([1], [1])), ["no other replica is in sync: night-0"], id="it has the only replica"
        ),
        pytest.param(
            cluster(partition([1, 2], [1], number=7)), ["no other replica is in sync: night-7"], id="the last in sync"
        ),
        pytest.param(cluster(partition([1, 2], [1, 2])), [], id="another has all records"),
    ],
)
def test_a_broker_loses_its_data_only_when_others_have_them(described, says):
    reasons = may_replace(1, described, ALL)
    assert [reason.startswith(begin) for reason, begin in zip(reasons, says, strict=True)] == [True] * len(says)


@pytest.mark.parametrize(
    ("described", "says"),
    [
        pytest.param(cluster(partition([1, 2, 3], [2, 3]), brokers=(2, 3)), [], id="the others have all"),
        pytest.param(cluster(brokers=(2, 3)), [], id="a new broker"),
        pytest.param(cluster(partition([2, 3], [], leader=None), brokers=(2, 3)), [], id="offline, but not its own"),
        pytest.param(cluster(), ["still registered: broker 1"], id="its session has not ended"),
        pytest.param(
            cluster(partition([1, 2, 3], [1, 2, 3], leader=2), brokers=(2, 3)),
            ["still counted as in sync: night-0"],
            id="it could be elected",
        ),
        pytest.param(
            cluster(partition([1, 2, 3], [1], leader=None), brokers=(2, 3)),
            [
                "offline, so that the lost data may be the only ones: night-0",
                "still counted as in sync: night-0",
            ],
            id="it was the last in sync",
        ),
    ],
)
def test_a_broker_without_its_data_starts_only_where_it_cannot_lead(described, says):
    assert may_start_empty(1, described) == says


@pytest.mark.parametrize(
    ("described", "says"),
    [
        pytest.param(cluster(WHOLE), None, id="all in sync"),
        pytest.param(cluster(partition([1, 2, 3], [1, 2])), "replicas still behind: night-0", id="one behind"),
        pytest.param(cluster(WHOLE, brokers=(1, 2)), "already away: broker 3", id="a broker that stays is away"),
        pytest.param(cluster(WHOLE, controller=-1), "no broker is the controller", id="no controller"),
        pytest.param(cluster(partition([1, 2, 3], [], leader=None)), "offline: night-0", id="offline"),
        pytest.param(cluster(WHOLE, directories={2: [disk(1)]}), "a disk is nearly full", id="a full disk"),
    ],
)
def test_replicas_are_copied_only_on_a_site_that_is_whole(described, says):
    reasons = may_move(described, Operation(frozenset({1, 2, 3}), free_percent=5))
    assert (says in "; ".join(reasons)) if says else reasons == []


def test_a_broker_that_leaves_may_be_away_already():
    gone = cluster(partition([1, 2, 4], [1, 2]), partition([1, 2, 3], [1, 2, 3], number=1))
    assert may_move(gone, ALL, frozenset({4})) == []
    assert may_move(gone, ALL) != []
    behind = cluster(partition([1, 2, 4], [1]))
    assert "night-0" in may_move(behind, ALL, frozenset({4}))[0]
