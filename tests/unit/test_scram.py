"""The client's side of SCRAM: both sides prove that they know the password, and neither says it."""

from __future__ import annotations

import pytest

from scram_server import ScramServer
from zads.site.scram import Scram, ScramError


def test_client_and_server_that_know_the_password_agree() -> None:
    client, server = Scram("zads.exporter", "secret"), ScramServer("secret")
    proof = client.proof(server.challenge(client.first()))
    answer = server.verdict(proof)
    assert answer is not None
    client.check(answer)
    assert b"secret" not in client.first() + proof


def test_a_client_with_another_password_proves_nothing() -> None:
    client, server = Scram("zads.exporter", "guessed"), ScramServer("secret")
    assert server.verdict(client.proof(server.challenge(client.first()))) is None


def test_a_server_that_does_not_know_the_password_is_found_out() -> None:
    client, server = Scram("zads.exporter", "secret"), ScramServer("secret", knows="something else")
    answer = server.verdict(client.proof(server.challenge(client.first())))
    assert answer is not None
    with pytest.raises(ScramError, match="does not prove"):
        client.check(answer)


def test_signs_in_a_name_that_mean_something_are_written_in_another_way() -> None:
    assert Scram("a=b,c", "secret", "nonce").first() == b"n,,n=a=3Db=2Cc,r=nonce"


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"r=another,s=c2FsdA==,i=4096", "another nonce"),
        (b"r=own,s=c2FsdA==,i=4096", "another nonce"),
        (b"r=ownTHEIRS,s=c2FsdA==", "no salt"),
        (b"r=ownTHEIRS,s=not base64!,i=4096", "no salt"),
        (b"r=ownTHEIRS,s=c2FsdA==,i=1000000000", "1000000000 iterations"),
        (b"r=ownTHEIRS,s=c2FsdA==,i=0", "0 iterations"),
        (b"\xff\xfe", "another nonce"),
    ],
)
def test_an_answer_that_no_honest_server_gives_is_refused(answer: bytes, says: str) -> None:
    with pytest.raises(ScramError, match=says):
        Scram("zads.exporter", "secret", "own").proof(answer)


@pytest.mark.parametrize("answer", [b"", b"v=", b"e=other-error", b"v=c2lnbmF0dXJl", b"v=\xc3\xa9"])
def test_a_last_answer_before_the_first_or_without_proof_is_refused(answer: bytes) -> None:
    with pytest.raises(ScramError):
        Scram("zads.exporter", "secret").check(answer)
