"""How much strangers and clients may ask of a daemon: bounds that follow from its heap and the largest message."""

from __future__ import annotations

import ipaddress

from zads.kafka import MESSAGE_MAX_BYTES

DOCUMENTATION = """
name: broker_bounds
short_description: What connections and requests a broker's heap can bear
description:
  - A connection with TLS costs about 100 KB of heap before anybody has said who he is, and whoever has a password may
    claim a request of the largest size with four bytes. A broker that believed everybody would run out of memory.
  - C(request) is the largest request, a message and some room. C(queued) is what requests that are being read or wait
    may hold together, a quarter of the heap; a claim beyond it waits. C(address) connections come from one address, so
    that their claims leave others a quarter of that. C(clients) connections are open at the listener for clients, an
    eighth of the heap, and C(brokers) at that for brokers, which has its own network threads.
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

MIB = 1 << 20
CONNECTION = 128 * 1024  # heap that a connection with TLS may cost: its buffers of 17 KB each, and the engine
REQUEST_ROOM = MIB  # above the largest message: its neighbours in one request, and names
BROKERS = 256  # connections of brokers and operators: a site has few
UNITS = {"k": 1 << 10, "m": MIB, "g": 1 << 30, "t": 1 << 40}


def size(text):
    """Bytes of a size as Java's -Xmx takes it. ValueError for anything else."""
    text = str(text).strip().lower()
    number, unit = (text[:-1], UNITS[text[-1]]) if text[-1:] in UNITS else (text, 1)
    if not number.isdecimal() or not int(number):
        raise ValueError(f"{text!r} is no size: write a number and k, m or g, as in 512m")
    return int(number) * unit


def broker_bounds(heap, message=MESSAGE_MAX_BYTES):
    """The bounds of a broker with this heap, for messages of this size in bytes at most."""
    memory, request = size(heap), int(message) + REQUEST_ROOM
    queued = max(memory // 4, 4 * request)
    clients = max(memory // 8 // CONNECTION, 64)
    return {
        "request": request,
        "queued": queued,
        "address": min(3 * queued // 4 // request, clients // 4),
        "clients": clients,
        "brokers": BROKERS,
    }


def member_connections(heap):
    """Connections that a member of an ensemble with this heap takes: a quarter of it; its brokers need a dozen."""
    return max(size(heap) // 4 // CONNECTION, 128)


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
