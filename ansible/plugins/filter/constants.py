"""Constants of the package and defaults of roles, for roles and plays that need the same value."""

from __future__ import annotations

import functools
import importlib
from pathlib import Path

import yaml

DOCUMENTATION = """
name: constant
short_description: A constant of the package zads
description: C(role_default), beside it, is the default of a role's variable, for plays that do not run the role.
options:
  _input: {description: "MODULE.NAME below zads, or the name of a role's variable", type: str, required: true}
"""

EXAMPLES = """
largest: "{{ 'kafka.MESSAGE_MAX_BYTES' | constant }}"
port: "{{ zookeeper_client_port | default('zookeeper_client_port' | role_default) }}"
"""

RETURN = """
_value: {description: The value, type: raw}
"""

ROLES = Path(__file__).resolve().parents[3] / "roles"


def constant(name):
    """The value of ``MODULE.NAME``. ModuleNotFoundError, AttributeError when there is none."""
    module, _, variable = name.rpartition(".")
    return getattr(importlib.import_module(f"zads.{module}"), variable)


def role_default(name):
    """The default of a role's variable. KeyError when no role has it; ValueError when it depends on others."""
    value = _defaults()[name]
    if "{{" in str(value):
        raise ValueError(f"the default of {name} depends on other variables: {value}")
    return value


@functools.cache
def _defaults():
    """Every default of every role, by name: names begin with their role's, so that no two are the same."""
    found = {}
    for path in sorted(ROLES.glob("*/defaults/main.yml")):
        found |= yaml.safe_load(path.read_text())
    return found


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        return {"constant": constant, "role_default": role_default}
