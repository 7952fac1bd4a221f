"""Simulated packets are valid, and the same for the same seed."""

from __future__ import annotations

import gzip
import io
from collections import Counter

import fastavro
import numpy as np
import pytest
from astropy.io import fits

from zads.errors import ZadsError
from zads.packet import Packet
from zads.sources import encoding
from zads.sources.simulator import MAX_VISITS, simulate


@pytest.fixture(scope="module")
def night():
    return list(simulate("20181129", 3, 60, seed=2))


def test_every_packet_is_valid_and_of_its_visit_and_night(night):
    for visit, packets in night:
        for name, data in packets:
            packet = Packet.parse(data)
            assert (packet.visit, packet.night, name) == (visit, "20181129", f"{packet.candid}.avro")


def test_other_software_reads_them(night):
    for _, data in night[0][1][:8]:
        (record,) = fastavro.reader(io.BytesIO(data))
        assert record["candid"] == Packet.parse(data).candid
        for kind in ("Science", "Template", "Difference"):
            image = fits.getdata(io.BytesIO(gzip.decompress(record[f"cutout{kind}"]["stampData"])))
            assert image.shape == (63, 63)
            assert image.dtype == ">f4"


def test_an_edge_of_a_detector_is_not_a_number(night):
    (record,) = fastavro.reader(io.BytesIO(night[0][1][49][1]))
    assert np.isnan(fits.getdata(io.BytesIO(gzip.decompress(record["cutoutScience"]["stampData"])))).any()


def test_sizes_are_those_of_real_packets(night):
    sizes = [len(data) for _, packets in night for _, data in packets]
    assert min(sizes) > 45_000
    assert 55_000 < np.median(sizes) < 75_000
    assert max(sizes) < 80_000


def test_candids_are_unique_and_objects_return(night):
    packets = [Packet.trusted(data) for _, visit in night for _, data in visit]
    assert len({packet.candid for packet in packets}) == 180
    assert max(Counter(packet.object_id for packet in packets).values()) > 1


def test_the_same_seed_makes_the_same_bytes_and_another_does_not(night):
    assert list(simulate("20181129", 3, 60, seed=2)) == night
    assert next(simulate("20181129", 3, 60, seed=3)) != night[0]
    assert next(simulate("20181130", 3, 60, seed=2)) != night[0]


def test_a_mix_is_kept(night):
    everything = [Packet.trusted(data) for _, visit in night for _, data in visit]
    assert {packet.schema_version for packet in everything} == {"3.2", "3.3", "4.01", "4.02"}
    assert {packet.programid for packet in everything} == {1, 2, 3}
    ((_, packets),) = simulate("20181129", 1, 20, schema_mix={"4.02": 1}, programme_mix={2: 5})
    assert {(one.schema_version, one.programid) for one in (Packet.trusted(data) for _, data in packets)} == {
        ("4.02", 2)
    }


@pytest.mark.parametrize(
    "arguments",
    [
        {"night": "20181340"},
        {"visits": MAX_VISITS + 1},
        {"schema_mix": {"9.9": 1.0}},
        {"programme_mix": {4: 1.0}},
        {"programme_mix": {1: 0.0}},
    ],
)
def test_a_night_that_cannot_be_is_refused(arguments):
    with pytest.raises(ZadsError):
        simulate(**{"night": "20181129", "visits": 1, "alerts_per_visit": 1, **arguments})


def test_a_night_without_alerts_has_its_visits():
    assert [packets for _, packets in simulate("20181129", 2, 0)] == [[], []]


def test_integers_are_encoded_alike_alone_and_in_columns():
    numbers = [0, -1, 1, 63, 64, -64, -65, 127, 128, 10**12, 2**63 - 1, -(2**63)]
    cells, used = encoding._varints(np.array(numbers))
    assert [cells[row][used[row]].tobytes() for row in range(len(numbers))] == [_one_long(n) for n in numbers]


def _one_long(number: int) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, "long", number)
    return out.getvalue()


def test_a_history_is_oldest_first_and_an_upper_limit_says_nothing_of_a_source(night):
    records = [next(fastavro.reader(io.BytesIO(data))) for _, data in night[0][1]]
    histories = [record["prv_candidates"] for record in records if record["prv_candidates"]]
    assert all([one["jd"] for one in history] == sorted(one["jd"] for one in history) for history in histories)
    limits = [one for history in histories for one in history if one["candid"] is None]
    detections = [one for history in histories for one in history if one["candid"] is not None]
    assert min(len(limits), len(detections)) > 50
    assert {one[name] for one in limits for name in ("magpsf", "ra", "isdiffpos")} == {None}
    assert all(one["magpsf"] < one["diffmaglim"] for one in detections)


def test_an_object_is_where_it_was_and_the_same_in_a_longer_night(night):
    places: dict[str, set[tuple[float, float]]] = {}
    for visit in (*night, *simulate("20181129", 4, 80, seed=2)):
        for _, data in visit[1]:
            record = next(fastavro.reader(io.BytesIO(data)))
            places.setdefault(record["objectId"], set()).add(
                (round(record["candidate"]["ra"], 3), record["candidate"]["field"])
            )
    assert max(map(len, places.values())) == 1
