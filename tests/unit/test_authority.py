"""An authority is changed in three steps. An interrupted one can be repeated, and between two nobody is refused."""

from __future__ import annotations

import contextlib
import ssl
from pathlib import Path
from typing import Any

import pytest

from zads import wholefile
from zads.site import authority
from zads.site.authority import Authority
from zads.site.certificates import Pair

TITLE = "ZADS public Kafka"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "public" / "kafka-ca"
    Authority.make(path, TITLE).save()
    return path


def load(path: Path) -> Authority:
    found = Authority.load(path)
    assert found is not None
    return found


def same(one: Authority, other: Authority) -> bool:
    """Whether they trust the same certificates in the same order, and issue with the same key."""
    return one.trusted == other.trusted and one.issuer.signer.public_key() == other.issuer.signer.public_key()


def leaf(issuer: Pair, directory: Path, name: str = "one") -> Path:
    """A certificate with its key in one file, as a daemon has it."""
    pair = Pair.make(directory / name, name, names=["localhost"], issuer=issuer)
    pair.save()
    both = directory / f"{name}.pem"
    both.write_bytes((directory / f"{name}.key").read_bytes() + (directory / f"{name}.crt").read_bytes())
    return both


def agree(server: tuple[bytes, Path], client: tuple[bytes, Path], directory: Path) -> bool:
    """Whether two sides, each with its trusted certificates and its own, accept each other by TLS."""
    ends: list[tuple[Any, ssl.MemoryBIO, ssl.MemoryBIO]] = []
    for number, (trusted, own) in enumerate((server, client)):
        bundle = directory / f"trusted-{number}"
        bundle.write_bytes(trusted)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if number == 0 else ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(bundle)
        context.load_cert_chain(own)
        context.verify_mode = ssl.CERT_REQUIRED
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2  # both ends know at the same time
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        name = "localhost" if number else None
        side = context.wrap_bio(incoming, outgoing, server_side=number == 0, server_hostname=name)
        ends.append((side, incoming, outgoing))
    for _ in range(8):
        for (side, _, outgoing), (_, incoming, _) in ((ends[1], ends[0]), (ends[0], ends[1])):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError:
                return False
            incoming.write(outgoing.read())
    return all(side.version() is not None for side, _, _ in ends)


def test_three_steps_end_with_the_new_authority_alone(path: Path) -> None:
    old = load(path)
    assert (old.step, len(old.trusted)) == (0, 1)
    first = old.advance()
    assert (first.step, first.trusted[0]) == (1, old.trusted[0])
    assert same(load(path), first)
    second = first.advance()
    assert (second.step, second.trusted) == (2, first.trusted[::-1])
    assert same(load(path), second)
    after = second.advance()
    assert (after.step, after.trusted) == (0, second.trusted[:1])
    assert sorted(one.name for one in path.parent.iterdir()) == ["kafka-ca.crt", "kafka-ca.key"]
    assert same(load(path), after)
    for one in (old, first, second, after):
        assert one.issuer.signer.public_key() == one.trusted[0].public_key(), "it issues with its own key"
    assert Authority.load(path, keyless=True) is not None


def test_each_one_has_a_name_of_its_own(path: Path) -> None:
    """ZooKeeper keeps authorities by name: of two with the same it would trust only the last."""
    names = [load(path).trusted[0].subject.rfc4514_string()]
    for _ in range(2):
        load(path).advance().advance().advance()
        names.append(load(path).trusted[0].subject.rfc4514_string())
    assert names == [f"CN={TITLE}", f"CN={TITLE} 2", f"CN={TITLE} 3"]


def test_everybody_accepts_everybody_else_between_two_steps(path: Path, tmp_path: Path) -> None:
    """While a step goes through a site, some have its files, and the others still those of the step before."""
    before = load(path)
    own = leaf(before.issuer, tmp_path / "0")
    sides = [(path.with_suffix(".crt").read_bytes(), own)]
    now = before
    for step in (1, 2, 3):
        now = now.advance()
        own = leaf(now.issuer, tmp_path / str(step)) if step > 1 else own
        sides.append((path.with_suffix(".crt").read_bytes(), own))
        for server, client in ((-1, -2), (-2, -1), (-1, -1)):
            assert agree(sides[server], sides[client], tmp_path), (step, server, client)
    assert not agree(sides[0], sides[-1], tmp_path), "those of before and after do not know each other"


def test_what_was_done_can_be_taken_back_step_by_step(path: Path) -> None:
    old = load(path)
    second = old.advance().advance()
    first = second.go_back()
    assert (first.step, first.trusted) == (1, second.trusted[::-1])
    assert same(first.go_back(), old)
    assert same(load(path), old)
    assert sorted(one.name for one in path.parent.iterdir()) == ["kafka-ca.crt", "kafka-ca.key"]
    with pytest.raises(ValueError, match="is not being changed"):
        load(path).go_back()


@pytest.mark.parametrize("step", [0, 1, 2])
@pytest.mark.parametrize("write", [0, 1, 2, 3])
def test_a_step_that_is_interrupted_anywhere_can_be_repeated(
    path: Path, monkeypatch: pytest.MonkeyPatch, step: int, write: int
) -> None:
    now = load(path)
    for _ in range(step):
        now = now.advance()
    done: list[str] = []

    def counting(function: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            if len(done) == write:
                raise KeyboardInterrupt
            done.append(str(arguments[0]))
            return function(*arguments, **options)

        return call

    with monkeypatch.context() as patched:
        patched.setattr(wholefile, "write_private", counting(wholefile.write_private))
        patched.setattr(Path, "unlink", counting(Path.unlink))
        patched.setattr(Path, "replace", counting(Path.replace))
        with contextlib.suppress(KeyboardInterrupt):
            now.advance()
    found = load(path)
    assert found.step in (step, (step + 1) % 3), "it has happened, or it has not"
    while found.step != 0 or found.trusted == now.trusted[:1]:
        found = found.advance()
    assert sorted(one.name for one in path.parent.iterdir()) == ["kafka-ca.crt", "kafka-ca.key"]
    assert same(load(path), found)


def test_a_change_that_was_prepared_is_begun_and_trusted_by_nobody(path: Path) -> None:
    old = load(path)
    assert not old.begun
    old.prepare()
    assert load(path).begun
    assert load(path).trusted == old.trusted
    newer = path.with_name("kafka-ca-second.crt").read_bytes()
    load(path).prepare()
    assert path.with_name("kafka-ca-second.crt").read_bytes() == newer, "prepared once"
    assert load(path).advance().trusted[1].subject.rfc4514_string() == f"CN={TITLE} 2"


def test_without_the_second_key_no_step_is_taken(path: Path) -> None:
    load(path).advance()
    path.with_name("kafka-ca-second.key").unlink()
    before = path.with_suffix(".crt").read_bytes()
    with pytest.raises(ValueError, match="restore them from the backup"):
        load(path).advance()
    assert path.with_suffix(".crt").read_bytes() == before


def test_a_key_of_another_is_no_key(path: Path) -> None:
    Pair.make(path.with_name("other"), "other").save()
    path.with_suffix(".key").write_bytes(path.with_name("other.key").read_bytes())
    with pytest.raises(ValueError, match="none of its keys belongs"):
        Authority.load(path)


def test_certificates_that_somebody_put_there_are_not_taken_for_a_step(path: Path) -> None:
    crt = path.with_suffix(".crt")
    crt.write_bytes(crt.read_bytes() * 2)
    with pytest.raises(ValueError, match="no change has put there"):
        _ = load(path).step


def test_a_long_and_a_numbered_title_keep_their_words() -> None:
    for name, parts in (("ZADS 7 Kafka", ("ZADS 7 Kafka", 1)), ("ZADS a 12", ("ZADS a", 12)), ("9", ("9", 1))):
        pair = Pair.make(Path("nowhere"), name)
        assert authority._parts(pair.certificate) == parts
