"""The addresses and ports of hosts, and the names for which their certificates must be valid."""

from __future__ import annotations

from pathlib import Path

import yaml

DOCUMENTATION = """
name: bootstrap
short_description: Addresses of hosts, as clients, other hosts and certificates use them
description:
  - C(bootstrap) gives the ADDRESS:PORT of each broker. Its address is the advertised one, else Ansible's, else the
    host's name.
  - C(with_password) turns these addresses into the lines of a properties file (zads.kafka.with_password).
  - C(host_addresses) gives the address of each host that is not a broker. It is Ansible's address, else the host's
    name.
  - C(certificate_hosts) gives each broker and member of an ensemble in the form that the module M(site_secrets)
    expects; C(certificate_mirrors) gives each mirror in that form, and C(certificate_servers) each board and each
    server of archives.
options:
  _input: {description: Variables of the hosts, type: list, elements: dict, required: true}
  listener: {description: Which of the brokers' listeners, type: str, choices: [clients, brokers], default: clients}
  brokers: {description: "Names of the hosts that are brokers, for C(certificate_hosts)", type: list, elements: str}
"""

EXAMPLES = """
site_brokers: "{{ groups['public_kafka'] | map('extract', hostvars) | bootstrap }}"
members: "{{ groups['public_zookeeper'] | map('extract', hostvars) | host_addresses }}"
hosts: "{{ groups['kafka'] | map('extract', hostvars) | certificate_hosts(groups['kafka']) }}"
"""

RETURN = """
_value: {description: "ADDRESS:PORT, address or dictionary of each", type: list, elements: raw}
"""

# The variables of a host that another host's play reads do not include the role's defaults.
KAFKA = yaml.safe_load((Path(__file__).resolve().parents[3] / "roles/kafka/defaults/main.yml").read_text())


def bootstrap(hosts, listener="clients"):
    """``ADDRESS:PORT`` of each host's listener."""
    return [f"{bracketed(broker_address(host))}:{port(host, listener)}" for host in hosts]


def port(host, listener):
    """The port of a broker's listener."""
    name = f"kafka_{listener}_port"
    return host.get(name, KAFKA[name])


def bracketed(name):
    """A name or address in the form that stands before a port: an IPv6 address has brackets."""
    return f"[{name}]" if ":" in name and not name.startswith("[") else name


def broker_address(host):
    """The address at which clients and other brokers reach a broker."""
    return host.get("kafka_advertised_host") or host_address(host)


def host_address(host):
    """The address at which other hosts reach a host."""
    return host.get("ansible_host") or host["inventory_hostname"]


def host_addresses(hosts):
    """The address at which other hosts reach each of these hosts."""
    return [host_address(host) for host in hosts]


def certificate_hosts(hosts, brokers):
    """Each broker and ensemble member: its name, its site, all names for which its certificate must be valid, and
    whether it is a broker. A broker also has the address of its listener for brokers."""
    return [
        {
            "name": host["inventory_hostname"],
            "site": host["site"],
            "kafka": host["inventory_hostname"] in brokers,
            "names": [host_address(host), broker_address(host), *(host.get("certificates_extra_names") or [])],
            "bootstrap": bootstrap([host], "brokers")[0] if host["inventory_hostname"] in brokers else "",
        }
        for host in hosts
    ]


def certificate_mirrors(hosts):
    """Each host of a mirror: its name, and the address for which its certificate must be valid."""
    return [{"name": host["inventory_hostname"], "names": [host_address(host)]} for host in hosts]


def certificate_servers(hosts):
    """Each host that serves browsers: its name, and all names for which its certificate must be valid."""
    return [
        {
            "name": host["inventory_hostname"],
            "names": [host_address(host), *(host.get("certificates_extra_names") or [])],
        }
        for host in hosts
    ]


def with_password(brokers, authority, user, password):
    """The lines of a properties file (zads.kafka.with_password)."""
    from zads import kafka  # heavy, and Ansible loads this file in each of its workers

    return kafka.with_password(brokers, authority, user, password)


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        return {
            "bootstrap": bootstrap,
            "broker_address": broker_address,
            "certificate_servers": certificate_servers,
            "certificate_hosts": certificate_hosts,
            "certificate_mirrors": certificate_mirrors,
            "host_addresses": host_addresses,
            "with_password": with_password,
        }
