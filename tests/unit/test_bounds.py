"""The bounds on a daemon's clients follow from its heap."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

MIB = 1 << 20


@pytest.fixture(scope="module")
def bounds(plugin):
    return plugin("filter/bounds.py")


@pytest.mark.parametrize(
    ("heap", "queued", "address", "clients"),
    [
        ("320m", 80, 12, 320),
        ("512m", 128, 19, 512),
        ("1g", 256, 38, 1024),
        ("4g", 1024, 153, 4096),
        ("6G", 1536, 230, 6144),
    ],
)
def test_the_bounds_of_the_inventories_heaps(bounds, heap, queued, address, clients):
    assert bounds.broker_bounds(heap) == {
        "request": 5 * MIB, "queued": queued * MIB, "address": address, "clients": clients, "brokers": 256
    }  # fmt: skip


@given(st.integers(256, 65536), st.integers(1, 16))
def test_no_address_takes_all_and_all_together_leave_the_broker_its_heap(bounds, megabytes, message):
    heap, found = megabytes * MIB, bounds.broker_bounds(f"{megabytes}m", message * MIB)
    assert found["request"] > message * MIB
    assert 1 <= found["address"] < found["clients"]
    assert found["address"] * found["request"] <= 0.75 * found["queued"]
    assert found["clients"] * bounds.CONNECTION_HEAP <= heap / 8
    # Kafka's pool grants a request while any memory is left, so it can exceed its size by one request.
    assert found["queued"] + found["request"] <= heap / 2


def test_a_member_takes_more_connections_than_its_brokers_have(bounds):
    assert bounds.member_connections("96m") == 192
    assert bounds.member_connections("1g") == 2048
    assert bounds.member_connections("8m") == 128


@pytest.mark.parametrize("heap", ["", "m", "4 g", "-1g", "0m", "1.5g", "much"])
def test_what_is_no_size_is_refused(bounds, heap):
    with pytest.raises(ValueError, match="no size"):
        bounds.broker_bounds(heap)


def test_own_hosts_are_known_by_their_literal_addresses_only(bounds):
    hosts = [{"ansible_host": "192.0.2.2"}, {"ansible_host": "a.example.org"}, {}, {"ansible_host": "2001:db8::1"}]
    assert bounds.own_addresses(hosts) == ["192.0.2.2", "2001:db8::1"]
