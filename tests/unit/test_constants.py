"""The constants that roles take from the package and from one another exist, and stand once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from zads.kafka import MESSAGE_MAX_BYTES

ROOT = Path(__file__).resolve().parents[2]
PLACES = (ROOT / "roles", ROOT / "ansible/playbooks")
SOURCES = [path for place in PLACES for path in place.rglob("*.[yj]*") if path.is_file()]


@pytest.fixture(scope="module")
def constants(plugin):
    return plugin("filter/constants.py")


def used(name: str) -> set[str]:
    """The texts to which all roles and playbooks apply the filter of this name."""
    return {found for path in SOURCES for found in re.findall(rf"'([\w.]+)' \| {name}\b", path.read_text())}


def test_every_constant_of_the_package_that_roles_use_is_there(constants):
    assert constants.constant("kafka.MESSAGE_MAX_BYTES") == MESSAGE_MAX_BYTES
    assert all(constants.constant(name) for name in used("constant"))


def test_every_default_of_a_role_that_others_use_is_there(constants):
    assert constants.role_default("zookeeper_client_port") == 2182
    assert used("role_default") >= {"zookeeper_client_port", "kafka_data", "producer_spool"}
    assert all(constants.role_default(name) for name in used("role_default"))


def test_a_default_that_depends_on_other_variables_is_refused(constants):
    with pytest.raises(ValueError, match="kafka_bounds depends on other variables"):
        constants.role_default("kafka_bounds")
    with pytest.raises(KeyError):
        constants.role_default("no_such_variable")
