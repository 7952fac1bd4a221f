"""Hostile filters (tests/attacks) beside honest ones of other owners, and what must be true wherever they run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from zads.filters.owner import Spec
from zads.filters.sandbox import Sandbox
from zads.filters.verdicts import Verdicts
from zads.sources.simulator import simulate

DIRECTORY = Path(__file__).parent / "attacks"
ATTACKS = sorted(path.stem for path in DIRECTORY.glob("*.py") if path.stem != "tools")
ALERTS = [data for _, members in simulate("20190101", 1, 12) for _, data in members]
BATCHES = 3
SECRET = "s3cr3t-of-the-group-that-nobody-may-read"

HONEST = '''"""An honest filter."""

from zads.filters import Filter
from zads.filters import quantities as q


class Honest(Filter):
    """Passes every other alert, and says what it made of it."""

    fields = ("candid", "candidate.rb", "candidate.magpsf", "prv_candidates.jd")
    time_limit = 5.0  # for machines that do much else

    def accept(self, alert):
        """One verdict of each kind."""
        if alert["candid"] % 2:
            return False
        number = 1.0 / 3.0 * alert["candidate"]["magpsf"] * 1e-300 * 1e-30
        history = len(alert.get("prv_candidates") or ())
        return {"candid": alert["candid"], "rb": q.real_bogus(alert), "history": history, "number": number}
'''


def specs(directory: Path, attack: str | None) -> list[Spec]:
    """Honest filters of two owners, and between them a hostile one beside another of the same owner.

    The group's password lies beside the directory, as in a deployment.
    """
    filters = directory / "filters"
    filters.mkdir(exist_ok=True)
    (directory / "kafka.properties").write_text(f"sasl.password={SECRET}\n")
    (filters / "group.json").write_text("{}")
    (filters / "honest.py").write_text(HONEST)
    found = [Spec("first", str(filters / "honest.py"), "alice")]
    if attack is not None:
        for name in (attack, "tools"):
            (filters / f"{name}.py").write_text((DIRECTORY / f"{name}.py").read_text())
        found.append(Spec("attack", str(filters / f"{attack}.py"), "mallory"))
        found.append(Spec("beside", str(filters / "honest.py"), "mallory"))
    return [*found, Spec("last", str(filters / "honest.py"), "bob")]


def judged(sandbox: Sandbox) -> tuple[dict[str, list[dict[int, str]]], str]:
    """What the honest filters passed of some batches, and all that anybody said."""
    passed: dict[str, list[dict[int, str]]] = {"first": [], "last": []}
    said = repr(sandbox.declared)
    for _ in range(BATCHES):
        verdicts, undecodable = sandbox.run(ALERTS)
        assert undecodable == {}, "every alert can be decoded"
        for name, batches in passed.items():
            assert not verdicts[name].failed, f"{name}: {verdicts[name].failed}"
            assert not verdicts[name].skipped, name
            batches.append(verdicts[name].passed)
        said += repr(verdicts)
        check(verdicts["attack"] if "attack" in verdicts else Verdicts())
    said += repr({name: circuit.why for name, circuit in sandbox.circuits.items()})
    for name in passed:
        assert sandbox.circuits[name].state == "closed", name
    return passed, said


def check(verdict: Verdicts) -> None:
    """Check that an attack could do none of the things that it tried."""
    for text in verdict.passed.values():
        told: dict[str, Any] = json.loads(text or "{}")
        assert not told.get("done"), f"it could do this: {told['done']}"
    assert not [text for text in verdict.failed.values() if not text.replace("\n", "").replace("\t", "").isprintable()]
