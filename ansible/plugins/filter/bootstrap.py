"""Where a site's brokers are reached: the one place that says which address and port."""

from __future__ import annotations

DOCUMENTATION = """
name: bootstrap
short_description: Addresses of brokers, as clients take them
description: An address is the advertised one, or else Ansible's, or else the host's name.
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

PORTS = {"brokers": 9093, "clients": 9094}  # the role kafka's defaults


def bootstrap(hosts, listener="clients"):
    """``ADDRESS:PORT`` of each host's listener."""
    return [f"{bracketed(address(host))}:{host.get(f'kafka_{listener}_port', PORTS[listener])}" for host in hosts]


def bracketed(name):
    """A name or address as it stands before a port: an IPv6 address has brackets."""
    return f"[{name}]" if ":" in name and not name.startswith("[") else name


def address(host):
    """Where others reach a broker."""
    return host.get("kafka_advertised_host") or host.get("ansible_host") or host["inventory_hostname"]


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        return {"bootstrap": bootstrap, "broker_address": address}
