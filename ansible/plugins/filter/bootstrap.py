"""Where a site's brokers are reached: the one place that says which address and port."""

from __future__ import annotations

from pathlib import Path

import yaml

from zads import kafka

DOCUMENTATION = """
name: bootstrap
short_description: Addresses of brokers, as clients take them
description:
  - An address is the advertised one, or else Ansible's, or else the host's name.
  - C(with_password), beside it, makes of addresses the lines of a properties file (zads.kafka.with_password).
options:
  _input: {description: Variables of the brokers, type: list, elements: dict, required: true}
  listener: {description: Which of their listeners, type: str, choices: [clients, brokers], default: clients}
"""

EXAMPLES = """
site_brokers: "{{ groups['public_kafka'] | map('extract', hostvars) | bootstrap }}"
"""

RETURN = """
_value: {description: "ADDRESS:PORT of each", type: list, elements: str}
"""

# A host's variables are without the role's defaults as long as another host's play reads them.
KAFKA = yaml.safe_load((Path(__file__).resolve().parents[3] / "roles/kafka/defaults/main.yml").read_text())


def bootstrap(hosts, listener="clients"):
    """``ADDRESS:PORT`` of each host's listener."""
    port = f"kafka_{listener}_port"
    return [f"{bracketed(address(host))}:{host.get(port, KAFKA[port])}" for host in hosts]


def bracketed(name):
    """A name or address as it stands before a port: an IPv6 address has brackets."""
    return f"[{name}]" if ":" in name and not name.startswith("[") else name


def address(host):
    """Where others reach a broker."""
    return host.get("kafka_advertised_host") or host.get("ansible_host") or host["inventory_hostname"]


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        return {"bootstrap": bootstrap, "broker_address": address, "with_password": kafka.with_password}
