"""The few facts of a host, and what roles conclude from them."""

from __future__ import annotations

from collections.abc import Callable
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
    asked = {"inventory_hostname": "h1", "site": "public", "ansible_facts": {"host_facts": {"authorities": known}}}
    assert plugin("filter/facts.py").host_authorities([asked, {"inventory_hostname": "apps"}]) == [
        {"name": "h1", "site": "public", "authorities": known},
        {"name": "apps", "site": "", "authorities": {}},
    ]
