"""The gate refuses every stop that would make a partition unwritable, and no other."""

import pytest

from zads.site.gate import Cluster, PartitionState, may_stop, misplaced, not_recovered


def partition(replicas, isr, leader=0, topic="night", number=0):
    chosen = (isr[0] if isr else None) if leader == 0 else leader
    return PartitionState(topic, number, chosen, tuple(replicas), frozenset(isr))


def cluster(*partitions, brokers=(1, 2, 3), controller=1, minimum=2):
    return Cluster(frozenset(brokers), controller, partitions, {"night": minimum})


@pytest.mark.parametrize(
    ("broker", "described", "expected", "says"),
    [
        pytest.param(1, cluster(partition([1, 2, 3], [1, 2, 3])), (1, 2, 3), None, id="all in sync"),
        pytest.param(1, cluster(), (1, 2, 3), None, id="a cluster without topics"),
        pytest.param(1, cluster(partition([1, 2, 3], [1, 2])), (1, 2, 3), "in sync 1,2", id="ISR at its minimum"),
        pytest.param(3, cluster(partition([1, 2, 3], [1, 2])), (1, 2, 3), None, id="behind, and not missed"),
        pytest.param(3, cluster(partition([1, 2, 3], [1])), (1, 2, 3), "too few", id="behind, ISR below its minimum"),
        pytest.param(1, cluster(partition([1, 2, 3], [1])), (1, 2, 3), "too few", id="the last replica in sync"),
        pytest.param(
            1,
            cluster(partition([1, 2, 3], [1, 2, 3]), brokers=(1, 2)),
            (1, 2, 3),
            "already away: broker 3",
            id="another broker away, though its partitions would allow it",
        ),
        pytest.param(
            1, cluster(brokers=(1,)), (1, 2, 3), "already away: brokers 2,3", id="two brokers away, no partition"
        ),
        pytest.param(3, cluster(partition([1, 2, 3], [1, 2]), brokers=(1, 2)), (1, 2, 3), None, id="itself away"),
        pytest.param(
            1,
            cluster(partition([1, 2], [1, 2])),
            (1, 2, 3),
            None,
            id="as many replicas as the minimum: no order of restarts helps",
        ),
        pytest.param(1, cluster(partition([1], [1])), (1, 2, 3), None, id="one replica, minimum two"),
        pytest.param(1, cluster(partition([1, 2, 3], [1, 2]), minimum=1), (1, 2, 3), None, id="minimum one, one left"),
        pytest.param(
            1, cluster(partition([1, 2, 3], [], leader=None)), (1, 2, 3), "offline: night-0", id="offline partition"
        ),
        pytest.param(
            1, cluster(partition([2, 3], [2], leader=2)), (1, 2, 3), None, id="someone else's partition is short"
        ),
    ],
)
def test_a_broker_goes_down_only_when_every_partition_stays_writable(broker, described, expected, says):
    reasons = may_stop(broker, described, expected)
    assert (says in "; ".join(reasons)) if says else reasons == []


def test_every_reason_is_given_and_long_lists_are_cut():
    many = [partition([1, 2, 3], [1, 2], number=n) for n in range(40)]
    reasons = may_stop(1, cluster(*many, partition([1, 2, 3], [], leader=None), brokers=(1, 2)), (1, 2, 3))
    assert len(reasons) == 3
    assert "and 35 more" in reasons[-1]


def test_a_broker_is_back_when_registered_and_every_replica_is_in_sync():
    assert not_recovered(3, cluster(partition([1, 2, 3], [1, 2, 3]))) == []
    assert "not registered" in not_recovered(3, cluster(brokers=(1, 2)))[0]
    assert "night-0 (in sync 1,2 of 1,2,3)" in not_recovered(3, cluster(partition([3, 1, 2], [1, 2])))[0]


def test_a_preferred_leader_in_sync_takes_its_partition_back():
    strayed = partition([1, 2, 3], [1, 2, 3], leader=2)
    assert misplaced(cluster(strayed, partition([2, 1], [2, 1], leader=2, number=1))) == [strayed]
    assert misplaced(cluster(partition([1, 2], [2], leader=2), partition([1, 2], [], leader=None))) == []
