"""The warm-up: canaries like packets, and errors that name the hop."""

from __future__ import annotations

from typing import Any

import pytest
from typer.testing import CliRunner

from zads import kafka, warmup
from zads.canary import CanaryError
from zads.commands import warm as command
from zads.packet import Packet

NOBODY = {"bootstrap.servers": "127.0.0.1:1", "log_level": "0"}


def test_canaries_are_like_real_packets() -> None:
    packets = warmup._packets()
    assert len({Packet.parse(packet.data).schema_version for packet in packets}) == 4
    assert sum(len(packet.data) for packet in packets) / len(packets) > 50_000
    assert len({packet.object_id for packet in packets}) == len(packets) == warmup.DIFFERENT_PACKETS


def test_a_site_that_does_not_answer_is_the_hop_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zads.subscriber.ANSWER_SECONDS", 0.2)
    with pytest.raises(CanaryError, match="public site") as caught:
        warmup.warm(NOBODY, NOBODY, say=print)
    assert caught.value.hop == "public"


def test_canaries_that_origin_does_not_take_are_lost_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warmup, "ARRIVAL_SECONDS", 0.3)
    with pytest.raises(CanaryError, match="origin did not take the canaries") as caught:
        warmup._Canaries(NOBODY, "ztf_20000101_programid1", b"mark")
    assert caught.value.hop == "origin"


def test_what_was_measured_is_said() -> None:
    first, last = ({"p50": 0.1, "p95": 0.2, "p99": p99, "max": 9.0} for p99 in (8.5, 0.41))
    said = str(warmup.WarmUpResult(640, 16.2, first, last, reached=True))
    assert said == "warm after 16 s and 640 canaries: 99 % read within 0.41 s (at first 8.50 s)"
    assert "not as quick" in str(warmup.WarmUpResult(640, 16.2, first, first, reached=False))


@pytest.mark.parametrize(("options", "seconds"), [([], 20.0), (["--seconds", "3"], 3.0)])
def test_the_inventory_says_how_long_a_warm_up_may_take(
    monkeypatch: pytest.MonkeyPatch, options: list[str], seconds: float
) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setattr(kafka, "read_properties", lambda _: {})
    monkeypatch.setattr(warmup, "warm", lambda *_, **named: asked.update(named))
    result = CliRunner().invoke(command.app, ["--env", "local", *options])
    assert result.exit_code == 0, result.output
    assert asked["seconds"] == seconds
