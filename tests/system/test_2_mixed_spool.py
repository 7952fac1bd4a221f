"""Alerts of several nights, programmes and schema versions in one exposure each reach their own topic."""

from __future__ import annotations

from collections import Counter, defaultdict

from local_system import System, await_that, drop, make_night, read_topic
from zads import names
from zads.packet import Packet
from zads.sources import simulator

NIGHTS = ("20300301", "20300302")


def test_each_packet_of_a_mixed_exposure_is_on_the_topic_of_its_night_and_programme(system: System) -> None:
    make_night(*NIGHTS)
    wanted: dict[str, Counter[bytes]] = defaultdict(Counter)
    versions = set()
    files = {}
    for night in NIGHTS:
        for _, packets in simulator.simulate(night, 1, 40, seed=7):
            for name, data in packets:
                packet = Packet.parse(data)
                versions.add(packet.schema_version)
                wanted[packet.topic][data] += 1
                files[f"{night}-{name}"] = data
    assert versions == {"3.2", "3.3", "4.01", "4.02"}
    assert set(wanted) == {names.night_topic(night, programme) for night in NIGHTS for programme in names.PROGRAMMES}
    drop(system, "mixed", files)

    def held(site: str, topic: str) -> Counter[bytes]:
        return Counter(record.value() for record in read_topic(f"admin-{site}", topic))

    for topic, values in wanted.items():
        await_that(f"{topic} has all alerts at the origin", lambda t=topic, v=values: held("origin", t) == v, 60)
    for night in NIGHTS:
        topic = names.night_topic(night, 1)
        await_that(f"{topic} has all alerts at the public site", lambda t=topic: held("public", t) == wanted[t], 60)
