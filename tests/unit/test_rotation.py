"""No step of a change of authorities begins before everybody has the files of the step before."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cryptography import x509

from zads.errors import ZadsError
from zads.site import rotation
from zads.site.authority import Authority
from zads.site.certificates import Pair, fingerprint
from zads.site.rotation import File, Kept

Plugin = Callable[[str], ModuleType]
OLD, NEW = "old", "new"
CA = "/etc/kafka/tls/ca.pem"


def kept(step: int, name: str = "public/kafka-ca", *, begun: bool = False) -> Kept:
    return Kept(name, step, begun, ((OLD,), (OLD, NEW), (NEW, OLD))[step])


def host(*certificates: str, path: str = CA, where: str = "public-1") -> File:
    return File(where, path, frozenset(certificates))


def plan(*authorities: Kept, there: tuple[File, ...] = (), users: tuple[File, ...] = (), back: bool = False) -> Any:
    return rotation.plan(authorities, there, users, {OLD, NEW, "leaf"}, back=back)


@pytest.mark.parametrize(
    ("step", "back", "says"),
    [(0, False, "step 1 of 3"), (1, False, "step 2 of 3"), (2, False, "step 3 of 3"), (1, True, "step 1 is taken back"),
     (2, True, "step 2 is taken back")],
)  # fmt: skip
def test_each_step_says_what_it_is_and_what_it_means_for_subscribers(step: int, back: bool, says: str) -> None:
    kit = File("the kit of reader", "clients/reader", frozenset({OLD, NEW}))
    found = plan(kept(step), there=(host(OLD, NEW),), users=(kit,), back=back)
    assert found.problems == []
    assert found.lines[0].startswith(f"public/kafka-ca: {says}")
    assert found.lines[1].endswith("(reader)")
    assert len(plan(kept(step, "public/zookeeper-ca"), there=(host(OLD, NEW),), back=back).lines) == 1, "nobody's kit"


def test_nothing_is_issued_by_an_authority_that_somebody_does_not_trust_yet() -> None:
    ready, late = host(OLD, NEW), host(OLD, where="public-2")
    assert plan(kept(1), there=(ready,)).problems == []
    (problem,) = plan(kept(1), there=(ready, late)).problems
    assert problem.startswith("public-2: /etc/kafka/tls/ca.pem does not trust both certificates of public/kafka-ca")
    kit = File("the kit of reader", "clients/reader", frozenset({OLD}))
    assert len(plan(kept(1), there=(ready,), users=(kit,)).problems) == 1
    assert len(plan(kept(2), there=(host(NEW),), back=True).problems) == 1, "nor by the old one, if that is gone"
    assert plan(kept(1), there=(ready, host("another site's"))).problems == []


def test_no_step_is_taken_blindly() -> None:
    """If no host was seen that knows the authority, nobody can say that all are ready."""
    strangers = (host("leaf"),)
    assert plan(kept(0), there=strangers).problems == ["no host knows such an authority: make deploy"]
    for step in (1, 2):
        assert plan(kept(step), there=strangers).problems == ["no host knows public/kafka-ca: make deploy"]
    unused = Kept("mirrors/ca", 0, False, ("a single mirror needs none",))
    assert plan(kept(0), unused, there=(host(OLD),)).names == ["public/kafka-ca"]


@pytest.mark.parametrize(("step", "back"), [(2, False), (1, True)])
def test_no_authority_ends_while_somebody_shows_a_certificate_of_it(step: int, back: bool) -> None:
    leaf = "/etc/kafka/tls/keystore.pem"
    trusting = host(OLD, NEW)
    assert plan(kept(step), there=(trusting, host("leaf", path=leaf)), back=back).problems == []
    (problem,) = plan(kept(step), there=(trusting, host("former", path=leaf)), back=back).problems
    assert problem == "public-1: /etc/kafka/tls/keystore.pem is another certificate than this machine's"


def test_authorities_that_are_being_changed_go_on_together_and_the_others_wait() -> None:
    there = (host(OLD, NEW),)
    rest, begun, first, second = kept(0, "a/ca"), kept(0, "b/ca", begun=True), kept(1, "c/ca"), kept(2, "d/ca")

    def found(*authorities: Kept, back: bool = False) -> Any:
        return plan(*authorities, there=there, back=back)

    assert found(rest, kept(0, "e/ca")).names == ["a/ca", "e/ca"], "at rest: all begin"
    assert found(rest, first).names == ["c/ca"]
    assert found(rest, first).lines[-1] == "left as they are: a/ca"
    assert found(begun, first, second).names == ["b/ca"], "an interrupted step is finished first"
    assert found(first, second).names == ["c/ca"]
    assert found(first, second, back=True).names == ["d/ca"]
    assert found(rest, back=True).problems == ["no authority is being changed"]
    assert found().problems == ["no host knows such an authority: make deploy"]


def test_only_files_of_programs_that_a_host_runs_count() -> None:
    there = {CA: ["a"], "/etc/zads/producer/ca.crt": ["b"], "/etc/zads/unknown/ca.crt": ["c"], "/etc/empty.crt": []}
    found = rotation.files([("one", ["kafka"], there), ("two", ["producers"], there), ("three", [], there)])
    assert [(one.where, one.path) for one in found] == [
        ("one", CA), ("one", "/etc/zads/unknown/ca.crt"),
        ("two", "/etc/zads/producer/ca.crt"), ("two", "/etc/zads/unknown/ca.crt"),
        ("three", "/etc/zads/unknown/ca.crt"),
    ]  # fmt: skip


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """Two sites with two authorities each, a certificate, and a kit."""
    directory = tmp_path / "secrets"
    for name in ("origin/kafka-ca", "origin/zookeeper-ca", "public/kafka-ca", "public/zookeeper-ca"):
        Authority.make(directory / name, f"ZADS {name}").save()
    issuer = Authority.load(directory / "public/kafka-ca")
    assert issuer is not None
    Pair.make(directory / "public/one/kafka", "one", issuer=issuer.issuer).save()
    (tmp_path / "clients/reader").mkdir(parents=True)
    shutil.copy(directory / "public/kafka-ca.crt", tmp_path / "clients/reader/ca.pem")
    return directory


@pytest.fixture
def module(plugin: Plugin) -> ModuleType:
    return plugin("modules/authority_change.py")


def asked(secrets: Path, **more: Any) -> dict[str, Any]:
    """The module's options: one broker, with the files that this machine has now."""
    own = {path.stem: path.read_text() for path in (secrets / "public").rglob("*.crt")}
    there = {
        CA: prints(own["kafka-ca"]), "/etc/kafka/tls/zookeeper-ca.pem": prints(own["zookeeper-ca"]),
        "/etc/kafka/tls/keystore.pem": prints(own["kafka"]),
    }  # fmt: skip
    return {
        "directory": str(secrets), "clients": str(secrets.parent / "clients"), "sites": ["public"], "back": False,
        "hosts": [{"name": "one", "site": "public", "authorities": there}],
        "groups": {"kafka": ["one"], "public_kafka": ["one"]}, "ill": {}, **more,
    }  # fmt: skip


def prints(text: str) -> list[str]:
    """SHA-256 of each certificate in a text."""
    return [fingerprint(one) for one in x509.load_pem_x509_certificates(text.encode())]


def test_the_module_takes_the_steps_of_one_site_and_waits_for_its_hosts(module: ModuleType, secrets: Path) -> None:
    kit = secrets.parent / "clients/reader/ca.pem"
    before = asked(secrets)
    names = ["public/kafka-ca", "public/zookeeper-ca"]
    wanted = module.plan(before)
    assert (wanted.names, wanted.problems) == (names, [])
    assert module.carry_out(secrets, names, back=False) == 1
    assert len(module.plan(before).problems) == 3, "the host's two files and the kit are the old ones"
    shutil.copy(secrets / "public/kafka-ca.crt", kit)
    assert module.plan(asked(secrets)).problems == []
    ill = {"one": [], "two": ["kafka.service runs with older files"]}
    assert module.plan(asked(secrets, ill=ill)).problems == ["two: kafka.service runs with older files"]
    assert module.carry_out(secrets, names, back=False) == 2
    stale = asked(secrets)
    assert module.plan(stale).problems, (
        "an interrupted run has made no new certificate: the host has that of this machine"
    )
    issuer = Authority.load(secrets / "public/kafka-ca")
    assert issuer is not None
    Pair.make(secrets / "public/one/kafka", "one", issuer=issuer.issuer).save()
    assert "is another certificate" in module.plan(stale).problems[0]
    assert module.plan(asked(secrets)).problems == []
    assert module.carry_out(secrets, names, back=False) == 0
    assert all(Authority.load(secrets / f"origin/{name}").step == 0 for name in ("kafka-ca", "zookeeper-ca"))


def test_an_interrupted_start_is_finished_for_all_that_began(module: ModuleType, secrets: Path) -> None:
    for name in ("public/kafka-ca", "public/zookeeper-ca"):
        Authority.load(secrets / name).prepare()
    Authority.load(secrets / "public/kafka-ca").advance()
    wanted = module.plan(asked(secrets))
    assert (wanted.names, wanted.step) == (["public/zookeeper-ca"], 0)
    assert module.carry_out(secrets, wanted.names, back=False) == 1
    assert module.plan(asked(secrets)).names == ["public/kafka-ca", "public/zookeeper-ca"]


def test_an_authority_without_its_key_stops_everything(module: ModuleType, secrets: Path) -> None:
    (secrets / "public/zookeeper-ca.key").unlink()
    with pytest.raises(ValueError, match=r"zookeeper-ca\.key is missing"):
        module.plan(asked(secrets))


def test_whose_password_changes_is_told_with_what_follows(plugin: Plugin) -> None:
    lines = plugin("filter/passwords.py").password_lines
    policy = {
        "topics_night": {"partitions": 1, "replication_factor": 2, "min_insync_replicas": 1, "retention_days": 7},
        "programmes": {1: {"sites": ["origin", "public"]}},
        "users": [{"name": "alice", "site": "public", "programmes": [1]}],
    }
    assert lines(["alice", "zads.mirror", "nobody"], json.dumps(policy), "prod") == [
        "alice at public: cannot connect without the new kit, .zads/prod/clients/alice",
        "zads.mirror at origin and public: restarts with the new one",
        "nobody at no site: cannot connect without the new kit, .zads/prod/clients/nobody",
    ]
    with pytest.raises(ZadsError):
        lines(["alice"], "{}", "prod")
