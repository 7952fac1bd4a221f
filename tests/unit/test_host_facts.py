"""The few facts of a host, and what roles conclude from them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

Plugin = Callable[[str], ModuleType]
BOOKWORM = (
    'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nNAME="Debian GNU/Linux"\nVERSION_ID="12"\n# a comment\nID=debian\n'
)
SHELL = "/usr/sbin/nologin"


@pytest.mark.parametrize(
    ("text", "found"),
    [(BOOKWORM, ("Debian", "12")), ('ID=ubuntu\nVERSION_ID="24.04"\n', ("Ubuntu", "24")), ("", ("", ""))],
)
def test_a_release_is_named_as_ansible_names_it(plugin: Plugin, text: str, found: tuple[str, str]) -> None:
    assert plugin("modules/host_facts.py").release(text) == found


def test_memory_is_all_of_it_in_whole_megabytes(plugin: Plugin) -> None:
    assert plugin("modules/host_facts.py").memory_mb("MemTotal:       24641972 kB\nMemFree:  1 kB\n") == 24064


@pytest.mark.parametrize(
    ("account", "made"),
    [
        ({}, ["zads"]),
        ({"zads": ["x", "900", "900", "", "/var/lib/zads", SHELL]}, []),
        ({"zads": ["x", "900", "900", "", "/home/zads", SHELL]}, ["zads"]),
        ({"zads": ["x", "900", "900", "", "/var/lib/zads", "/bin/sh"]}, ["zads"]),
    ],
)
def test_a_user_is_made_unless_its_home_and_shell_are_right(
    plugin: Plugin, account: dict[str, list[str]], made: list[str]
) -> None:
    assert plugin("filter/facts.py").users_to_make(["zads"], account, "/var/lib", SHELL) == made


def test_a_host_that_was_not_asked_knows_no_authorities(plugin: Plugin) -> None:
    known = {"/etc/kafka/tls/ca.pem": ["ab"]}
    asked = {"inventory_hostname": "h1", "site": "public", "ansible_facts": {"host_facts": {"certificates": known}}}
    assert plugin("filter/facts.py").host_authorities([asked, {"inventory_hostname": "apps"}]) == [
        {"name": "h1", "site": "public", "authorities": known},
        {"name": "apps", "site": "", "authorities": {}},
    ]


def interface(directory: Path, name: str, speed: str, kind: str = "device") -> None:
    (directory / name / kind).mkdir(parents=True)
    (directory / name / "speed").write_text(speed)


def test_the_network_is_as_fast_as_its_fastest_card(plugin: Plugin, tmp_path: Path) -> None:
    speed = plugin("modules/host_facts.py").network_mbit
    assert speed(tmp_path / "nowhere") == 0
    interface(tmp_path, "eth0", "1000\n")
    interface(tmp_path, "eth1", "-1\n")
    interface(tmp_path, "docker0", "100000\n", "bridge")
    (tmp_path / "lo").mkdir()
    assert speed(tmp_path) == 1000
    interface(tmp_path, "bond0", "20000\n", "bonding")
    assert speed(tmp_path) == 20_000


def test_a_card_that_does_not_say_its_speed_is_unknown(plugin: Plugin, tmp_path: Path) -> None:
    interface(tmp_path, "eth0", "-1\n")
    (tmp_path / "eth1" / "device").mkdir(parents=True)
    (tmp_path / "eth1" / "speed").mkdir()  # reading it fails, as for a card that is down
    assert plugin("modules/host_facts.py").network_mbit(tmp_path) == 0


def test_a_directory_that_is_there_has_its_whole_disk_and_one_to_come_what_is_free(
    plugin: Plugin, tmp_path: Path
) -> None:
    disk, usage = plugin("modules/host_facts.py").disk, shutil.disk_usage(tmp_path)
    there, to_come = disk(str(tmp_path)), disk(str(tmp_path / "kafka" / "data"))
    assert there["device"] == to_come["device"] == tmp_path.stat().st_dev
    assert there["bytes"] == usage.total
    assert to_come["bytes"] == pytest.approx(usage.free, rel=0.1)
