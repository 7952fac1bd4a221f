"""A control machine that has lost its secrets makes no new ones for hosts that work with others."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

Plugin = Callable[[str], ModuleType]
GROUPS = {
    "origin_kafka": ["origin-1", "origin-2"],
    "origin_zookeeper": ["origin-1", "origin-2"],
    "public_kafka": ["public-1"],
    "public_zookeeper": ["public-1", "member-1"],
    "kafka": ["origin-1", "origin-2", "public-1"],
    "zookeeper": ["origin-1", "origin-2", "public-1", "member-1"],
    "producers": ["apps-1"],
    "mirrors": ["apps-1"],
}
KEPT = {
    name: [f"{name} of ours"] for name in (f"{s}/{k}-ca" for s in ("origin", "public") for k in ("kafka", "zookeeper"))
}


@pytest.fixture(scope="module")
def module(plugin: Plugin) -> ModuleType:
    return plugin("modules/known_authorities.py")


def host(name: str, whose: str | None = "ours", **other: str) -> dict[str, Any]:
    """A host as it describes itself, deployed with somebody's authorities, or not deployed yet."""
    site = {"origin": "origin", "public": "public", "member": "public"}.get(name.partition("-")[0], "")
    files = {}
    if name in GROUPS["kafka"]:
        files |= {
            "/etc/kafka/tls/ca.pem": f"{site}/kafka-ca",
            "/etc/kafka/tls/zookeeper-ca.pem": f"{site}/zookeeper-ca",
        }
    if name in GROUPS["zookeeper"]:
        files |= {"/etc/zookeeper/tls/ca.pem": f"{site}/zookeeper-ca"}
    if name in GROUPS["producers"]:
        files |= {"/etc/zads/producer/ca.crt": "origin/kafka-ca"}
    known = {path: [f"{authority} of {whose}"] for path, authority in files.items()} if whose else {}
    return {"name": name, "site": site, "authorities": known | {path: [value] for path, value in other.items()}}


EVERYBODY = ("origin-1", "origin-2", "public-1", "member-1", "apps-1")


@pytest.fixture
def refusals(module: ModuleType) -> Callable[..., list[str]]:
    def run(
        *hosts: dict[str, Any], kept: dict[str, list[str]] = KEPT, passwords: bool = True, groups: Any = None
    ) -> list[str]:
        groups = groups or GROUPS
        asked = {one["name"] for one in hosts}
        found: list[str] = module.refusals(
            kept, module.known(list(hosts), groups), module.members(groups), asked, passwords=passwords
        )
        return found

    return run


def all_of(whose: str | None) -> list[dict[str, Any]]:
    return [host(name, whose) for name in EVERYBODY]


def without(*lost: str) -> dict[str, list[str]]:
    return {name: value for name, value in KEPT.items() if not name.startswith(lost)}


def test_a_new_site_and_one_of_these_secrets_go_on(refusals: Callable[..., list[str]]) -> None:
    assert refusals(*all_of(None), kept={}, passwords=False) == []
    assert refusals(*all_of(None)) == []
    assert refusals(*all_of("ours")) == []
    assert refusals(host("origin-1"), host("origin-2", None)) == [], "an interrupted first deployment is finished"


def test_lost_secrets_are_named_each_with_who_knows_it(refusals: Callable[..., list[str]]) -> None:
    found = refusals(*all_of("ours"), kept={}, passwords=False)
    assert [problem.partition(" ")[0] for problem in found] == [*(f"{name}.crt" for name in KEPT), "passwords.yml"]
    assert "is missing: origin-1, origin-2, apps-1 know" in found[0]


def test_other_secrets_are_refused(refusals: Callable[..., list[str]]) -> None:
    found = refusals(*all_of("others"))
    assert [problem.partition(":")[0] for problem in found] == [f"{name}.crt is another one" for name in KEPT]


def test_one_sites_lost_directory_is_refused_and_names_that_site_alone(refusals: Callable[..., list[str]]) -> None:
    found = refusals(*all_of("ours"), kept=without("public/"))
    assert [problem.partition(" ")[0] for problem in found] == ["public/kafka-ca.crt", "public/zookeeper-ca.crt"]


def test_some_hosts_that_know_another_are_named(refusals: Callable[..., list[str]]) -> None:
    (broker, ensemble) = refusals(host("origin-1"), host("origin-2", "others"), host("public-1"))
    assert "origin-2 know" in broker
    assert "origin-1" not in broker + ensemble


def test_a_program_that_knows_another_is_reason_enough(refusals: Callable[..., list[str]]) -> None:
    (found,) = refusals(host("apps-1", "others"))
    assert found.startswith("origin/kafka-ca.crt is another one: apps-1 know")


def test_while_an_authority_is_changed_each_host_knows_the_one_that_issues(
    module: ModuleType, refusals: Callable[..., list[str]]
) -> None:
    """Hosts have the files of a step, or still those of the step before it."""
    path, old, new = "/etc/kafka/tls/ca.pem", "origin/kafka-ca of ours", "origin/kafka-ca of a successor"

    def found(kept: list[str], *there: str) -> list[str]:
        one = host("origin-1")
        one["authorities"][path] = list(there)
        return refusals(one, kept={**KEPT, "origin/kafka-ca": kept})

    steps = [[old], [old, new], [new, old], [new]]
    for step, before in zip(steps[1:], steps, strict=False):
        assert found(step, *before) == found(step, *step) == []
    assert found([new], old)[0].startswith("origin/kafka-ca.crt is another one: origin-1 know")
    assert found([old], new), "a backup from before the change"
    assert found([old, new], new), "a backup from before the step in which the new one began to issue"
    assert found([], old), "a damaged file"


def test_lost_passwords_are_refused_where_anything_has_been_deployed(refusals: Callable[..., list[str]]) -> None:
    (found,) = refusals(*all_of("ours"), passwords=False)
    assert found.startswith("passwords.yml is missing")
    assert refusals(*all_of(None), passwords=False) == [], "an interrupted first deployment makes them now"


def test_who_was_not_asked_might_know_another(refusals: Callable[..., list[str]]) -> None:
    """With LIMIT only some hosts would get a new authority."""
    found = refusals(host("apps-1", None), kept=without("public/"))
    assert [problem.partition(" ")[0] for problem in found] == ["public/kafka-ca.crt", "public/zookeeper-ca.crt"]
    assert "public-1 were not asked" in found[0]
    assert refusals(host("apps-1", None)) == []


def test_several_mirrors_have_an_authority_that_can_be_lost(refusals: Callable[..., list[str]]) -> None:
    groups = {**GROUPS, "mirrors": ["apps-1", "apps-2"]}
    rest = {"/etc/zads/mirrormaker/rest-ca.crt": "of ours"}
    hosts = [host(name, **(rest if name == "apps-1" else {})) for name in (*EVERYBODY, "apps-2")]
    (found,) = refusals(*hosts, groups=groups)
    assert found.startswith("mirrors/ca.crt is missing: apps-1 know")


def test_what_a_host_keeps_of_a_former_life_does_not_count(refusals: Callable[..., list[str]]) -> None:
    assert refusals(host("apps-1", **{"/etc/kafka/tls/ca.pem": "of others"})) == []


def test_a_file_may_hold_several_certificates_and_damage_is_nobody(plugin: Plugin, tmp_path: Path) -> None:
    fingerprints = plugin("module_utils/certificate_text.py").fingerprints
    made = []
    for name in ("one", "two"):
        path = tmp_path / name
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
             "-subj", f"/CN={name}", "-keyout", "/dev/null", "-out", str(path)], check=True, capture_output=True,
        )  # fmt: skip
        made.append(path.read_text())
    found = fingerprints("some words\n" + "".join(made))
    said = subprocess.run(
        ["openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in", str(tmp_path / "one")],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert found[0] == said.partition("=")[2].strip().replace(":", "").lower()
    assert len(found) == 2
    assert fingerprints(made[0].replace("MII", "?")[:200]) == []
