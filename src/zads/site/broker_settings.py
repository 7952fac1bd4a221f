"""Which changes of a broker's settings it can take while it runs, and which need a restart.

A broker takes some settings at once (Kafka calls them dynamic, and lists all others as read-only). A value that it was
given so wins over its file, also after a restart, until it is taken away again. So a value is given only while the
broker runs with an older file, and what was given by hand is taken away.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

# Kafka can change these while a broker runs, but its clients may lose it by that: they take a restart behind the gate.
_CONNECTIONS = ("advertised.", "inter.broker.", "listener", "principal.", "sasl.", "security.", "ssl.")
# A reassignment sets these while it runs: they are its state, not configuration.
_REASSIGNMENT = frozenset(
    {
        "leader.replication.throttled.rate",
        "follower.replication.throttled.rate",
        "replica.alter.log.dirs.io.max.bytes.per.second",
    }
)

Change = tuple[str | None, str | None]  # a setting's old and new value; None: Kafka's default


@dataclass(frozen=True)
class Plan:
    """What becomes of a changed file of settings.

    ``restart`` are the changes that need a restart; if there are any, it brings all others too. ``at_once`` are the
    changes that the running broker is given, ``remove`` the values that are taken away from it.
    """

    restart: dict[str, Change] = field(default_factory=dict)
    at_once: dict[str, Change] = field(default_factory=dict)
    remove: dict[str, Change] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """One sentence for each change."""
        return [
            *(
                f"{name}: {_shown(old)} becomes {_shown(new)}, by a restart"
                for name, (old, new) in self.restart.items()
            ),
            *(f"{name}: {_shown(old)} becomes {_shown(new)}, at once" for name, (old, new) in self.at_once.items()),
            *(
                f"{name}: {_shown(old)} was set by hand, at once {_shown(new)}"
                for name, (old, new) in self.remove.items()
            ),
        ]


def read(text: str) -> dict[str, str]:
    """The settings in the text of a file ``server.properties``."""
    lines = [line.strip() for line in text.splitlines()]
    pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
    return {name.strip(): value.strip() for name, _, value in pairs}


def plan(
    wanted: Mapping[str, str],
    started: Mapping[str, str],
    given: Mapping[str, str | None],
    dynamic: frozenset[str],
    *,
    tidy: bool = False,
) -> Plan:
    """How a broker that started with the settings ``started`` gets the settings ``wanted``.

    ``given`` are the values that the running broker was given, ``dynamic`` the settings that it can take at once. With
    ``tidy`` values that only repeat the file are taken away as well.
    """
    changed = {
        name: (started.get(name), wanted.get(name))
        for name in sorted({*wanted, *started})
        if wanted.get(name) != started.get(name)
    }
    if any(not _can_take(name, new, dynamic) for name, (_, new) in changed.items()):
        return Plan(restart=changed)
    at_once = {
        name: (given.get(name, old), new)
        for name, (old, new) in changed.items()
        if name not in given or not _same(given[name], new)
    }
    remove = {
        name: (value, wanted.get(name))
        for name, value in sorted(given.items())
        if name not in changed and name not in _REASSIGNMENT and (tidy or not _same(value, wanted.get(name)))
    }
    return Plan(at_once=at_once, remove=remove)


def _can_take(name: str, new: str | None, dynamic: frozenset[str]) -> bool:
    """Whether a running broker can take this change. It cannot be given Kafka's default."""
    return new is not None and name in dynamic and not name.startswith(_CONNECTIONS)


def _same(one: str | None, other: str | None) -> bool:
    """Whether two texts are the same value. Kafka writes a value in its own way, such as 1.0 for 1."""
    if one is None or other is None:
        return one is other
    try:
        return float(one) == float(other)
    except ValueError:
        return [part.strip().lower() for part in one.split(",")] == [part.strip().lower() for part in other.split(",")]


def _shown(value: str | None) -> str:
    return "Kafka's default" if value is None else value or "nothing"
