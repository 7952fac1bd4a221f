"""What packets in memory cost: ours beside what users of the stream write today.

Each round runs ours and the peers in turn on the same packets, so that other work on the machine slows all of them.
Costs are processor time. All verdicts are compared before anything is timed.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import fastavro
from fastavro.validation import validate

from bench import clocks, cuts, group, peers
from bench.result import Context, Result
from zads.errors import ZadsError
from zads.packet import Packet

LOOP = "loop over fastavro.reader"
QUIX = "quix-streams"
CUTS = "candidate cuts, 100 filters"
CURVES = "light curve for 10 of 100 filters"
FENCED = "in the worker's group"
NO_NETWORK = (
    "bytes to verdict; its data frame's composed functions with a deserialiser of fastavro.reader, without a broker"
)


def measure(context: Context) -> Iterator[Result]:
    """The rows of packets in memory."""
    yield from _verdicts(context)
    yield from _validation(context)


def by_candidate(data: bytes) -> list[int]:
    """The filters that pass a packet. Only the four fields are decoded."""
    return cuts.by_candidate(Packet.trusted(data).read(cuts.FIELDS))


def by_light_curve(data: bytes) -> list[int]:
    """The same, with the light curve decoded when a filter first asks for it."""
    packet = Packet.trusted(data)
    return cuts.by_light_curve(_Late(packet))


class _Late(dict[str, Any]):
    """A record whose light curve is read when it is looked up."""

    def __init__(self, packet: Packet) -> None:
        super().__init__(packet.read(cuts.FIELDS))
        self._packet = packet

    def __missing__(self, name: str) -> Any:
        self.update(self._packet.read((cuts.HISTORY,)))
        return self[name]


def _verdicts(context: Context) -> Iterator[Result]:
    packets = context.packets
    interpreter = peers.python(context.root, context.say)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        quix = stack.enter_context(peers.Quix(interpreter, packets, scratch))
        groups = {
            rule: stack.enter_context(group.running(group.write(scratch / rule, rule)))
            for rule in ("candidate", "columns", "light curve")
        }
        ways: dict[str, Callable[[bytes], list[int]]] = {"candidate": by_candidate, "light curve": by_light_curve}
        for rule, way in ways.items():
            same = ["light curve"] if rule == "light curve" else ["candidate", "columns"]
            _agree(rule, packets, way, quix, [groups[name] for name in same])
        both: dict[str, clocks.Way] = {rule: (way, packets) for rule, way in ways.items()}
        both |= {f"{rule} loop": (_loop(rule), packets) for rule in ways}
        costs: dict[str, list[float]] = {}
        for _ in range(context.rounds):
            found = clocks.together(both)
            found |= {f"{rule} quix": quix.round(rule)[0] / len(packets) * 1e6 for rule in ways}
            found |= {f"{rule} group": running.cost(packets) for rule, running in groups.items()}
            _add(costs, found)
    yield _row(CUTS, LOOP, costs["candidate"], costs["candidate loop"], 15.0, "bytes to verdict")
    yield _row(CUTS, QUIX, costs["candidate"], costs["candidate quix"], 1.0, NO_NETWORK)
    share = sum(_looks(data) for data in packets) / len(packets)
    asked = f"{share:.1%} of the alerts pass the candidate cut of a filter that then looks at the light curve"
    yield _row(CURVES, LOOP, costs["light curve"], costs["light curve loop"], 10.0, asked)
    yield _row(CURVES, QUIX, costs["light curve"], costs["light curve quix"], 1.0, NO_NETWORK)
    sandboxed = "the sandboxed process, what hands packets to it, and the verdicts' way back"
    yield _row(f"{CUTS}, {FENCED}", LOOP, costs["candidate group"], costs["candidate loop"], 15.0, sandboxed)
    yield _row(f"{CUTS} on columns, {FENCED}", LOOP, costs["columns group"], costs["candidate loop"], None, sandboxed)
    yield _row(f"{CURVES}, {FENCED}", LOOP, costs["light curve group"], costs["light curve loop"], 10.0, sandboxed)


def _loop(rule: str) -> Callable[[bytes], list[int]]:
    peer = cuts.RULES[rule]
    return lambda data: peer(cuts.read(data))


def _looks(data: bytes) -> bool:
    """Whether one of the filters looks at a packet's light curve."""
    candidate = cuts.read(data)["candidate"]
    return any(cuts.bright(candidate, limit) for limit in cuts.LIMITS[:: cuts.EVERY])


def _agree(
    rule: str,
    packets: Sequence[bytes],
    ours: Callable[[bytes], list[int]],
    quix: peers.Quix,
    groups: Sequence[group.RunningGroup],
) -> None:
    """All ways must pass the same packets by the same filters, and some of each. Raises ZadsError otherwise."""
    expected = [cuts.RULES[rule](cuts.read(data)) for data in packets]
    found = {"ours": list(map(ours, packets)), QUIX: quix.round(rule)[1]}
    found |= {f"{FENCED} ({number})": running.passed(packets) for number, running in enumerate(groups)}
    for name, verdicts in found.items():
        if verdicts != expected:
            raise ZadsError(f"{rule}: the verdicts {name} are not those of the loop: nothing is measured")
    if not any(expected):
        raise ZadsError(f"{rule}: no filter passes any of these packets: a benchmark of nothing")


def _validation(context: Context) -> Iterator[Result]:
    packets = context.packets
    decoded = [_decoded(data) for data in packets]
    ways: dict[str, clocks.Way] = {
        "parse": (Packet.parse, packets),
        "validate": (lambda one: validate(one[0], one[1], raise_errors=True), decoded),
        "writer": (lambda one: fastavro.writer(io.BytesIO(), one[1], [one[0]], validator=True), decoded),
    }
    costs: dict[str, list[float]] = {}
    for _ in range(context.rounds):
        _add(costs, clocks.together(ways))
    given = "the peer is given the decoded packet; ours begins with its bytes"
    yield _row("validation", "fastavro.validate(raise_errors=True)", costs["parse"], costs["validate"], 20.0, given)
    yield _row("validation", "fastavro.writer(validator=True)", costs["parse"], costs["writer"], 20.0, given)


def _decoded(data: bytes) -> tuple[Any, Any]:
    reader = fastavro.reader(io.BytesIO(data))
    return next(reader), fastavro.parse_schema(reader.writer_schema)


def _add(costs: dict[str, list[float]], found: Mapping[str, float]) -> None:
    for name, value in found.items():
        costs.setdefault(name, []).append(value)


def _row(name: str, peer: str, ours: list[float], theirs: list[float], goal: float | None, note: str = "") -> Result:
    return Result(name, ours, "µs/alert", peer, theirs, "peer/ours", goal, "at least", note)
