"""The canary belongs to no night of the survey, and its error names the hop."""

from __future__ import annotations

import pytest

from zads import canary, names

NOBODY = {"bootstrap.servers": "127.0.0.1:1", "log_level": "0"}


def test_the_canary_flies_on_no_night_of_the_survey() -> None:
    assert names.check_night(names.CANARY_NIGHT) < "20170101"


def test_a_site_that_does_not_answer_is_the_hop_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canary, "ANSWER_SECONDS", 0.2)
    with pytest.raises(canary.CanaryError, match="the public site does not let ztf_20000101") as caught:
        canary.send(NOBODY, NOBODY)
    assert caught.value.hop == "public"


def test_a_canary_that_origin_does_not_take_is_lost_there() -> None:
    with pytest.raises(canary.CanaryError, match="origin did not take the canary") as caught:
        canary._publish(NOBODY, "ztf_20000101_programid1", b"mark", b"value", 0.2)
    assert caught.value.hop == "origin"
