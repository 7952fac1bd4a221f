"""What a host tells Prometheus, and what Prometheus asks of all hosts: from the groups of the inventory."""

from __future__ import annotations

from dataclasses import asdict

from zads.site import monitoring, workers

DOCUMENTATION = """
name: metrics_sources
short_description: What a host tells Prometheus, behind its front
description:
  - C(metrics_sources) gives each thing that a host tells, with its job and its path at the front. A filter worker has
    its port as well.
  - C(worker_ports) gives the ports of a host's workers of one group, by their numbers.
  - C(scrape_configs) gives the C(scrape_configs) of Prometheus for all hosts.
  - C(silent_targets) gives a line for each target that has not answered, from what Prometheus says of its targets.
  - C(metrics_hosts) gives each host in the form that the module M(site_secrets) expects.
options:
  _input: {description: "The variables of a host, or of all hosts", type: raw, required: true}
  filter_groups: {description: "The groups of filters", type: dict}
  groups: {description: "Ansible's groups", type: dict}
  first: {description: "Port of the first worker of a host", type: int}
  group: {description: "A group of filters, for C(worker_ports)", type: str}
  port: {description: "Port of the fronts of hosts that name none, for C(scrape_configs)", type: int}
  connection: {description: "Options of every job, for C(scrape_configs)", type: dict}
"""

EXAMPLES = """
told: "{{ hostvars[inventory_hostname] | metrics_sources(filter_groups, groups, 9450) }}"
"""

RETURN = """
_value: {description: "What is told, ports, jobs or hosts", type: raw}
"""


def workers_of(host, filter_groups, groups):
    """Group and number of each filter worker of a host."""
    name, hosts = host["inventory_hostname"], groups.get("workers", [])
    return workers.share(filter_groups, hosts, name) if name in hosts else []


def metrics_sources(host, filter_groups, groups, first):
    """What a host tells, in the order in which it is asked."""
    here = workers_of(host, filter_groups, groups)
    return [asdict(one) for one in monitoring.sources(host["group_names"], here, first)]


def worker_ports(host, filter_groups, groups, first, group):
    """The port of each worker of a group on a host, by its number."""
    here = workers_of(host, filter_groups, groups)
    return {number: first + place for place, (name, number) in enumerate(here) if name == group}


def scrape_configs(hosts, filter_groups, groups, port, connection):
    """The jobs of Prometheus. Only the front of a host is asked, so the ports of its workers do not matter."""
    asked = [
        monitoring.Host(
            host["inventory_hostname"],
            host.get("site", ""),
            f"{_bracketed(_address(host))}:{host.get('host_metrics_port', port)}",
            monitoring.sources(host["group_names"], workers_of(host, filter_groups, groups)),
        )
        for host in hosts
    ]
    return monitoring.scrape_configs(asked, connection)


def metrics_hosts(hosts, monitors):
    """Each host that tells metrics: its name, the addresses that reach it, and whether it is a monitor."""
    return [
        {
            "name": host["inventory_hostname"],
            "names": [_address(host), *(host.get("certificates_extra_names") or [])],
            "monitor": host["inventory_hostname"] in monitors,
        }
        for host in hosts
    ]


def silent_targets(answer):
    """A line for each thing that has not answered Prometheus, from the answer of its ``/api/v1/targets``."""
    silent = [one for one in answer["data"]["activeTargets"] if one["health"] != "up"]
    return [
        "{instance}: {job} tells no metrics ".format(**one["labels"]) + f"({one.get('lastError') or one['health']})"
        for one in silent
    ]


def _address(host):
    return host.get("ansible_host") or host["inventory_hostname"]


def _bracketed(address):
    return f"[{address}]" if ":" in address else address


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        return {
            "metrics_hosts": metrics_hosts,
            "metrics_sources": metrics_sources,
            "scrape_configs": scrape_configs,
            "silent_targets": silent_targets,
            "worker_ports": worker_ports,
        }
