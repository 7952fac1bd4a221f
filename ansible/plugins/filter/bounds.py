"""Bounds on the requests and connections of a daemon's clients, computed from its heap and the largest message."""

from __future__ import annotations

import ipaddress

from zads.plan.measured import CONNECTION_HEAP, HEAP_PARTS
from zads.site.sizes import MIB, size

DOCUMENTATION = """
name: broker_bounds
short_description: The connections and requests that a broker's heap can bear
description:
  - A TLS connection costs about 100 KB of heap before the client has authenticated. A client with a password can claim
    a request of the largest size with only four bytes. Without bounds such clients could use up a broker's memory.
  - C(request) is the size of the largest request, one message and some room. C(queued) is the total size of the
    requests that are being read or wait, a quarter of the heap; a claim beyond it waits. C(address) is the number of
    connections from one address, chosen so that their claims leave a quarter of C(queued) to others. C(clients) is the
    number of open connections at the listener for clients, for an eighth of the heap. C(brokers) is the number of
    connections at the listener for brokers, which has its own network threads.
options:
  _input: {description: "The heap as Java reads it, e.g. 4g", type: str, required: true}
"""

EXAMPLES = """
bounds: "{{ '4g' | broker_bounds }}"
members: "{{ '512m' | member_connections }}"
own: "{{ groups['all'] | map('extract', hostvars) | own_addresses }}"
"""

RETURN = """
_value: {description: request and queued in bytes; address clients and brokers in connections, type: dict}
"""

REQUEST_ROOM = MIB  # beyond the largest message: the other messages of its request, and names
BROKERS = 256  # connections of brokers and operators: a site has few


def broker_bounds(heap, message=None):
    """The bounds of a broker with this heap, for messages of at most this size in bytes, else of our largest."""
    if message is None:
        from zads.kafka import MESSAGE_MAX_BYTES  # heavy, and Ansible loads this file in each of its workers

        message = MESSAGE_MAX_BYTES
    memory, request = size(heap), int(message) + REQUEST_ROOM
    queued = max(memory // 4, 4 * request)
    clients = max(memory // HEAP_PARTS // CONNECTION_HEAP, 64)
    return {
        "request": request,
        "queued": queued,
        "address": min(3 * queued // 4 // request, clients // 4),
        "clients": clients,
        "brokers": BROKERS,
    }


def member_connections(heap):
    """Connections that an ensemble member accepts, for a quarter of this heap; its brokers need a dozen."""
    return max(size(heap) // 4 // CONNECTION_HEAP, 128)


def own_addresses(hosts):
    """The literal addresses of these hosts (their variables): a name that cannot be looked up would stop a broker."""
    return sorted({text for host in hosts if (text := str(host.get("ansible_host", ""))) and literal(text)})


def literal(text):
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        return {
            "broker_bounds": broker_bounds,
            "member_connections": member_connections,
            "own_addresses": own_addresses,
        }
