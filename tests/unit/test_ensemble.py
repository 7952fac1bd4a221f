"""What a new list of members changes for an ensemble, and why one change at a time is safe."""

from __future__ import annotations

from itertools import combinations

import pytest

from zads.site.ensemble import differences, members

FILE = """
# server.9=in-a-comment:2888:3888
clientPort=2181
server.1=192.0.2.1:2888:3888
server.2=[2001:db8::2]:2888:3888
server.3=c.example.org:2888:3888
"""
NOW = {1: "192.0.2.1", 2: "[2001:db8::2]", 3: "c.example.org"}


def test_the_members_are_read_from_a_members_file() -> None:
    assert members(FILE) == NOW
    assert differences(FILE, NOW) == []


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        pytest.param({**NOW, 4: "d"}, ["member 4 joins"], id="one joins"),
        pytest.param({1: NOW[1], 2: NOW[2]}, ["member 3 leaves"], id="one leaves"),
        pytest.param({**NOW, 3: "z"}, ["member 3 moves from c.example.org to z"], id="one moves"),
        pytest.param({1: NOW[1], 2: NOW[2], 4: "d"}, ["member 4 joins", "member 3 leaves"], id="one for another"),
    ],
)
def test_each_change_is_named(wanted: dict[int, str], says: list[str]) -> None:
    assert differences(FILE, wanted) == says


def majorities(numbers: set[int]) -> list[set[int]]:
    return [set(some) for some in combinations(numbers, len(numbers) // 2 + 1)]


@pytest.mark.parametrize("size", range(3, 8))
def test_majorities_of_lists_that_differ_by_one_member_always_meet(size: int) -> None:
    before, after = set(range(size)), set(range(size + 1))
    assert all(one & other for one in majorities(before) for other in majorities(after))


def test_majorities_of_lists_that_differ_by_two_members_may_not() -> None:
    assert not all(one & other for one in majorities({1, 2, 3}) for other in majorities({1, 2, 3, 4, 5}))
