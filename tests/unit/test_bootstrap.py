"""The addresses of hosts, and the names that their certificates must have."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture(scope="module")
def reached(plugin: Callable[[str], ModuleType]) -> ModuleType:
    return plugin("filter/bootstrap.py")


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ({}, "h1:9094"),
        ({"ansible_host": "192.0.2.1"}, "192.0.2.1:9094"),
        ({"ansible_host": "2001:db8::1"}, "[2001:db8::1]:9094"),
        ({"ansible_host": "192.0.2.1", "kafka_advertised_host": "kafka.example.org"}, "kafka.example.org:9094"),
        ({"kafka_clients_port": 9194}, "h1:9194"),
    ],
)
def test_a_broker_is_reached_as_it_says_or_else_as_ansible_does(
    reached: ModuleType, host: dict[str, Any], address: str
) -> None:
    assert reached.bootstrap([{"inventory_hostname": "h1", **host}]) == [address]


def test_brokers_speak_to_each_other_at_another_port(reached: ModuleType) -> None:
    hosts = [{"inventory_hostname": "h1"}, {"inventory_hostname": "h2", "kafka_brokers_port": 9193}]
    assert reached.bootstrap(hosts, "brokers") == ["h1:9093", "h2:9193"]


def test_a_host_without_an_address_is_reached_by_its_name(reached: ModuleType) -> None:
    hosts = [{"inventory_hostname": "h1"}, {"inventory_hostname": "h2", "ansible_host": "192.0.2.2"}]
    assert reached.host_addresses(hosts) == ["h1", "192.0.2.2"]


def test_a_brokers_certificate_has_every_name_by_which_it_is_reached(reached: ModuleType) -> None:
    host = {
        "inventory_hostname": "h1",
        "site": "public",
        "ansible_host": "192.0.2.1",
        "kafka_advertised_host": "kafka.example.org",
        "kafka_brokers_port": 9193,
        "certificates_extra_names": ["alerts.example.org"],
    }
    assert reached.certificate_hosts([host], ["h1"]) == [
        {
            "name": "h1",
            "site": "public",
            "kafka": True,
            "names": ["192.0.2.1", "kafka.example.org", "alerts.example.org"],
            "bootstrap": "kafka.example.org:9193",
        }
    ]


def test_an_ensembles_member_has_no_listener_for_brokers(reached: ModuleType) -> None:
    (member,) = reached.certificate_hosts([{"inventory_hostname": "z1", "site": "origin"}], ["h1"])
    assert (member["kafka"], member["bootstrap"], member["names"]) == (False, "", ["z1", "z1"])


def test_a_mirrors_certificate_has_its_address(reached: ModuleType) -> None:
    hosts = [{"inventory_hostname": "m1", "ansible_host": "192.0.2.9"}, {"inventory_hostname": "m2"}]
    assert reached.certificate_mirrors(hosts) == [
        {"name": "m1", "names": ["192.0.2.9"]},
        {"name": "m2", "names": ["m2"]},
    ]
