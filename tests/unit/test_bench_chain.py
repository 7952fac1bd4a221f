"""How the chain is measured: which part used the processor time, and packets that are moved to another night."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from bench import cluster, floor, profile, usage
from zads.errors import ZadsError
from zads.packet import Packet
from zads.sources import simulator


@pytest.mark.parametrize(
    ("host", "words", "part"),
    [
        ("origin-2", "/usr/bin/java -Xms512m kafka.Kafka /etc/kafka/server.properties", "origin brokers"),
        ("public-1", "java org.apache.zookeeper.server.quorum.QuorumPeerMain zoo.cfg", "ZooKeeper"),
        ("apps-1", "java -cp /opt/kafka/libs/* org.apache.kafka.connect.mirror.MirrorMaker mm2.properties", "mirror"),
        ("apps-1", "/opt/zads/bin/python3 /opt/zads/bin/zads produce --kafka p", "producer"),
        ("apps-1", "/opt/zads/bin/python3 -P -m zads.filters.child 3 6 7 256000000", "workers"),
        ("apps-1", "/usr/sbin/dockerd", "hosts and engine"),
        ("", "python zads produce elsewhere", "other processes"),
    ],
)
def test_every_process_belongs_to_a_part(host: str, words: str, part: str) -> None:
    assert usage.part_of(host, words) == part


def test_parts_and_the_kernel_add_up_to_the_whole_machine() -> None:
    before = usage.Snapshot(100.0, {("mirror", 7): 5.0}, {("mirror", "compiler", 8): 1.0})
    after = usage.Snapshot(104.0, {("mirror", 7): 6.0, ("producer", 9): 0.5}, {("mirror", "compiler", 8): 1.25})
    used = usage.between(before, after)
    assert used.parts == {"mirror": 1.0, "producer": 0.5, "kernel": 2.5}
    assert used.threads == {"mirror": {"compiler": 0.25}}
    assert used.per_alert(1000) == {"whole machine": 4.0, "kernel": 2.5, "mirror": 1.0, "producer": 0.5}


def test_this_machine_has_been_busy_and_knows_this_process() -> None:
    before = usage.Parts({}).snapshot()
    sum(range(3_000_000))
    used = usage.between(before, usage.Parts({}).snapshot())
    assert used.parts["subscriber"] > 0
    assert used.busy > 0


def test_copies_of_packets_are_valid_of_the_night_and_all_different() -> None:
    [(_, packets)] = simulator.simulate("20181129", 1, 12, programme_mix={1: 1.0})
    given = [data for _, data in packets]
    copies = [Packet.parse(data) for data in itertools.islice(cluster.dated(given, "20300105"), 36)]
    assert {packet.topic for packet in copies} == {"ztf_20300105_programid1"}
    assert len({packet.candid for packet in copies}) == 36
    assert [len(packet.data) for packet in copies] == [len(data) for data in given] * 3


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("C2 CompilerThre;libjvm.so;PhaseChaitin::Split", "Java's compiler"),
        ("data-plane-kafk;[kernel.kallsyms];[k] tcp_sendmsg_locked", "kernel: network"),
        ("data-plane-kafk;[kernel.kallsyms];[k] _copy_to_iter", "kernel: copies"),
        ("ReplicaFetcherT;[kernel.kallsyms];[k] futex_wake", "kernel: waking, waiting"),
        ("data-plane-kafk;perf-71.map;0x7f12", "Java code, encryption with it"),
        ("task-thread-ori;libzstd-jni-1.5.6.so;ZSTD_compressBlock_fast", "compression in Java"),
    ],
)
def test_a_sample_tells_what_was_done(place: str, kind: str) -> None:
    assert profile._kind(place) == kind


REPORT = """
# Samples: 20K of event 'cpu-clock:ppp'
#
#      Samples;Command        ;Shared Object      ;Symbol
 120        ;data-plane-kafk;[kernel.kallsyms]   ;[k] _copy_to_iter
  30        ;data-plane-kafk;[nf_conntrack]      ;[k] nf_conntrack_tcp_packet
 100        ;data-plane-kafk;[JIT] tid 6141      ;[.] java.lang.Object copyOf(int)
 500        ;swapper        ;[kernel.kallsyms]   ;[k] pv_native_safe_halt
  50        ;C2 CompilerThre;libjvm.so           ;[.] PhaseChaitin::Split
 200        ;zads           ;python3.11          ;[.] _PyEval_EvalFrameDefault
"""


def test_a_profile_says_what_the_busy_time_went_into() -> None:
    assert profile.shares(REPORT) == {
        "Python and its libraries": 0.4,
        "kernel: copies": 0.24,
        "Java code, encryption with it": 0.2,
        "Java's compiler": 0.1,
        "kernel: network": 0.06,
    }
    with pytest.raises(ZadsError, match="recorded nothing"):
        profile.shares("# no samples")


@pytest.fixture(scope="module")
def alerts() -> list[bytes]:
    return [data for _, visit in simulator.simulate("20181129", 1, 60) for _, data in visit]


def test_the_floor_has_every_passage_and_copy_of_the_chain_once() -> None:
    assert floor.TIMES == {
        "read": 1, "validate": 1, "compress": 2, "decompress": 3, "encrypt": 9, "decrypt": 9, "send and receive": 9,
        "write": 6,
    }  # fmt: skip
    reached = {"producer"}
    for hop in floor.HOPS:
        assert hop.sender in reached
        assert hop.receiver not in reached
        reached.add(hop.receiver)


def test_the_floor_compresses_as_the_deployed_mirror_does() -> None:
    settings = (Path(__file__).parents[2] / "roles/mirrormaker/templates/mm2.properties.j2").read_text()
    assert re.findall(r"^public\.producer\.compression\.zstd\.level=(.*)$", settings, re.M) == [str(floor.MIRROR_LEVEL)]


def test_batches_of_the_floor_are_as_large_as_the_producers_and_keep_the_order(alerts: list[bytes]) -> None:
    given = alerts * 5
    found = floor.batches(given)
    assert list(itertools.chain(*found)) == given
    for batch, after in itertools.pairwise(found):
        assert sum(map(len, batch)) <= floor.BATCH_BYTES < sum(map(len, [*batch, after[0]]))


def test_a_packet_larger_than_a_batch_is_a_batch_of_its_own() -> None:
    large = bytes(floor.BATCH_BYTES + 1)
    assert floor.batches([b"small", large, b"small"]) == [[b"small"], [large], [b"small"]]


def test_a_round_of_the_floor_costs_something_in_every_part(alerts: list[bytes]) -> None:
    with floor.running(alerts) as steps:
        costs = steps.round()
    assert costs.keys() == floor.TIMES.keys()
    assert all(cost > 0 for cost in costs.values())
    assert floor.total(costs) == pytest.approx(sum(costs.values()))
    assert floor.by_part([costs]).startswith(f"read (1 x) {costs['read']:.3f}, validate (1 x) ")


def test_a_floor_whose_readers_get_other_bytes_is_refused(alerts: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    class Careless:
        def decompress(self, data: memoryview) -> bytes:
            return bytes(len(data))

    monkeypatch.setattr(floor, "ZstdDecompressor", Careless)
    with pytest.raises(ZadsError, match="the mirror has other bytes"), floor.running(alerts):
        pass
