"""Constants of the package and defaults of roles, for roles and plays that need the same value."""

from __future__ import annotations

import functools
import importlib
from pathlib import Path

import yaml

DOCUMENTATION = """
name: constant
short_description: A constant of the package zads
description: The filter C(role_default) gives the default of a role's variable, for plays that do not run the role.
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
    """The value of ``MODULE.NAME``. Raises ModuleNotFoundError or AttributeError if there is none."""
    module, _, variable = name.rpartition(".")
    return getattr(importlib.import_module(f"zads.{module}"), variable)


def role_default(name):
    """The default of a role's variable. Raises KeyError if no role has it, ValueError if it depends on others."""
    value = _defaults()[name]
    if "{{" in str(value):
        raise ValueError(f"the default of {name} depends on other variables: {value}")
    return value


@functools.cache
def _defaults():
    """Every default of every role, by name; no two names are the same, since each begins with its role's name."""
    found = {}
    for path in sorted(ROLES.glob("*/defaults/main.yml")):
        found |= yaml.safe_load(path.read_text())
    return found


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        return {"constant": constant, "role_default": role_default}
