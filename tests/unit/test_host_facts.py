"""The few facts of a host, and where brokers are reached."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

Plugin = Callable[[str], ModuleType]
BOOKWORM = (
    'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nNAME="Debian GNU/Linux"\nVERSION_ID="12"\n# a comment\nID=debian\n'
)


@pytest.mark.parametrize(
    ("text", "found"),
    [(BOOKWORM, ("Debian", "12")), ('ID=ubuntu\nVERSION_ID="24.04"\n', ("Ubuntu", "24")), ("", ("", ""))],
)
def test_a_release_is_named_as_ansible_names_it(plugin: Plugin, text: str, found: tuple[str, str]) -> None:
    assert plugin("modules/host_facts.py").release(text) == found


def test_memory_is_all_of_it_in_whole_megabytes(plugin: Plugin) -> None:
    assert plugin("modules/host_facts.py").memory_mb("MemTotal:       24641972 kB\nMemFree:  1 kB\n") == 24064


@pytest.mark.parametrize(
    ("host", "reached"),
    [
        ({}, "h1:9094"),
        ({"ansible_host": "192.0.2.1"}, "192.0.2.1:9094"),
        ({"ansible_host": "192.0.2.1", "kafka_advertised_host": "kafka.example.org"}, "kafka.example.org:9094"),
        ({"kafka_clients_port": 9194}, "h1:9194"),
    ],
)
def test_a_broker_is_reached_as_it_says_or_else_as_ansible_does(
    plugin: Plugin, host: dict[str, Any], reached: str
) -> None:
    assert plugin("filter/bootstrap.py").bootstrap([{"inventory_hostname": "h1", **host}]) == [reached]


def test_brokers_speak_to_each_other_at_another_port(plugin: Plugin) -> None:
    hosts = [{"inventory_hostname": "h1"}, {"inventory_hostname": "h2", "kafka_brokers_port": 9193}]
    assert plugin("filter/bootstrap.py").bootstrap(hosts, "brokers") == ["h1:9093", "h2:9193"]
