"""An answer from a process of filters counts only if it has the right form and answers the question."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zads.filters import verdicts, wire
from zads.filters.verdicts import Question, Result

RIGHT = {"filter": 3, "in_a_row": 0, "seconds": 0.5, "passed": [[0, ""], [2, '{"a":1}']], "failed": [[1, "no"]]}


def result(**changed: object) -> Result:
    found = verdicts.running(json.dumps({**RIGHT, **changed}).encode())
    assert isinstance(found, Result)
    return found


def asked() -> dict[int, Question]:
    return {3: Question(frozenset({0, 1, 2, 5}), frozenset({5})), 4: Question(frozenset(range(6)))}


def test_a_result_is_taken_once() -> None:
    about = asked()
    verdicts.check(result(), about)
    assert about[3].answered
    with pytest.raises(wire.ProtocolError, match="twice for one filter"):
        verdicts.check(result(), about)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"filter": 5}, "was not asked about"),
        ({"passed": [[3, ""]]}, "alerts that it was not asked about"),
        ({"failed": [[5, "no"]]}, "alerts that it was not asked about"),
        ({"passed": [[0, ""], [0, ""]]}, "twice for one alert"),
        ({"failed": [[0, "no"]]}, "twice for one alert"),
        ({"skipped": 1}, "alerts that it was not asked about"),
        ({"passed": [[0, "{"]]}, "not a JSON object"),
        ({"passed": [[0, "[1]"]]}, "not a JSON object"),
        ({"passed": [[0, '{"a":NaN}']]}, "not a JSON object"),
        ({"passed": [[0, '{"a":"\\ud800"}']]}, "not a JSON object"),
        ({"passed": [[0, '{"a":' + "[" * 1000 + "]" * 1000 + "}"]]}, "not a JSON object"),
        ({"passed": [[0, '{"é":1}']]}, "not a JSON object"),
    ],
)
def test_a_result_beyond_the_question_is_refused(changed: dict[str, object], why: str) -> None:
    with pytest.raises(wire.ProtocolError, match=why):
        verdicts.check(result(**changed), asked())


@pytest.mark.parametrize(
    "text",
    [
        b"", b"null", b"[]", b'{"done":1}', b'{"done":true,"more":1}', b'{"filter":-1,"in_a_row":0,"seconds":0}',
        b'{"filter":0,"in_a_row":0,"seconds":NaN}', b'{"filter":0,"in_a_row":0,"seconds":1e999}',
        b'{"filter":0,"in_a_row":0,"seconds":-1}',
        b'{"filter":0,"in_a_row":' + b"9" * 10_000 + b',"seconds":0}', b'{"filter":true,"in_a_row":0,"seconds":0}',
        b'{"filter":0,"in_a_row":0,"seconds":0,"passed":[[0,"' + b"x" * 4097 + b'"]]}',
        b'{"filter":0,"in_a_row":0,"seconds":0,"failed":[[0,"' + b"x" * 2001 + b'"]]}',
        b'{"filter":0,"in_a_row":0,"seconds":0,"failed":[[0,"\\ud800"]]}', b'{"undecodable":[0.5]}',
        b'{"undecodable":[-1]}',
        b'{"filter":"0","alert":0}', b"[" * 1_000_000, b'{"filter":' * 100_000, b"\xff\xfe", b'{"filter":0}',
    ],
)  # fmt: skip
def test_an_answer_without_a_known_form_is_broken_and_nothing_worse(text: bytes) -> None:
    with pytest.raises(wire.ProtocolError):
        verdicts.running(text)


@given(
    st.one_of(
        st.binary(), st.recursive(st.none() | st.integers() | st.text(), st.lists).map(lambda v: json.dumps(v).encode())
    )
)
def test_any_bytes_are_an_answer_or_broken(text: bytes) -> None:
    for read in (verdicts.ready, verdicts.loading, verdicts.running, verdicts.results):
        try:
            read(text)
        except wire.ProtocolError:
            continue


def test_a_filters_texts_cannot_move_a_cursor() -> None:
    assert verdicts.printable("a\x1b[2J\x07\u202eb\n\tc") == "a?[2J??b\n\tc"
