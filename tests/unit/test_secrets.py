"""Secrets are made once, renewed in time, never silently when they are given, and never shown."""

import datetime
import json
import stat

import bcrypt
import pytest
import yaml
from cryptography.hazmat.primitives import serialization

from zads.site import ages, certificates, hashes
from zads.site.authority import Authority
from zads.site.certificates import Pair


@pytest.fixture(scope="module")
def site_secrets(plugin):
    return plugin("modules/site_secrets.py")


def host(name, site="origin", *, kafka=True, names=("192.0.2.1",)):
    bootstrap = f"{names[0]}:9093" if kafka else ""
    return {"name": name, "site": site, "kafka": kafka, "names": list(names), "bootstrap": bootstrap}


@pytest.fixture
def settle(site_secrets, tmp_path):
    def run(
        *hosts,
        users=("reader",),
        mirrors=(),
        archives=(),
        monitored=(),
        hashed=None,
        boards=(),
        source="generated",
        check=False,
        renew_days=30,
        anew=(),
        passwords=(),
    ):
        params = {
            "directory": str(tmp_path / "secrets"),
            "clients": str(tmp_path / "clients"),
            "hosts": list(hosts) or [host("one")],
            "mirrors": list(mirrors),
            "archives": list(archives),
            "monitored": list(monitored),
            "logging": [],
            "hashed": dict(hashed or {}),
            "boards": list(boards),
            "passwords": list(users),
            "source": source,
            "renew_days": renew_days,
            "anew": list(anew),
            "anew_passwords": list(passwords),
        }
        state = site_secrets.Secrets(params, check=check)
        state.settle()
        return state

    return run


def test_a_second_run_changes_nothing(settle):
    assert settle().result()["changed"]
    assert settle().result()["changed"] is False


def test_check_mode_says_what_it_would_make_and_makes_nothing(settle, tmp_path):
    result = settle(check=True).result()
    assert "origin/one/kafka" in result["created"]
    assert list(tmp_path.iterdir()) == []


def test_certificates_are_for_their_host_by_name_and_address(settle, tmp_path):
    settle(host("one", names=("192.0.2.1", "one.example.org")))
    pair = Pair.load(tmp_path / "secrets/origin/one/kafka")
    assert pair.names() == {"one", "192.0.2.1", "one.example.org", "localhost", "127.0.0.1"}
    assert pair.certificate.subject.rfc4514_string() == "CN=one"


def test_each_site_trusts_its_own_and_the_ensemble_another_authority(settle, tmp_path):
    settle(host("one"), host("two", "public"))
    load = Pair.load
    secrets = tmp_path / "secrets"
    own, ensemble, other = (
        load(secrets / name) for name in ("origin/kafka-ca", "origin/zookeeper-ca", "public/kafka-ca")
    )
    leaf = load(secrets / "origin/one/kafka")
    leaf.certificate.verify_directly_issued_by(own.certificate)
    for stranger in (ensemble, other):
        assert leaf.wrong(stranger, "one", [], 30) == "issued by another authority"


def test_authorities_last_ten_years_and_certificates_two(settle, tmp_path):
    settle()
    assert Pair.load(tmp_path / "secrets/origin/kafka-ca").days in (3649, 3650)
    assert Pair.load(tmp_path / "secrets/origin/one/kafka").days in (729, 730)


def test_a_certificate_is_renewed_before_it_expires_and_its_authority_stays(settle, monkeypatch):
    settle()
    later = certificates.now() + datetime.timedelta(days=705)
    monkeypatch.setattr(certificates, "now", lambda: later)
    result = settle().result()
    assert sorted(result["renewed"]) == ["origin/admin", "origin/one/kafka", "origin/one/zookeeper"]
    assert result["created"] == []
    assert settle().result()["changed"] is False


def test_no_certificate_is_made_to_outlive_its_authority(settle, monkeypatch):
    """A certificate that ends with its authority is not made again in every run."""
    settle()
    start = certificates.now()
    for days, renewed in ((3250, 3), (3640, 0)):
        monkeypatch.setattr(certificates, "now", lambda days=days: start + datetime.timedelta(days=days))
        state = settle()
        assert len(state.result()["renewed"]) == renewed
        assert {one.days for one in state.authorities.ends} == {3649 - days}
        assert settle().result()["changed"] is False


def test_what_nears_its_end_is_told_and_what_is_near_is_a_failure():
    limits = ages.Limits(authority=365, certificate=30, critical=21, password=730)
    ends = [
        ages.Expiry("origin/kafka-ca", 19),
        ages.Expiry("origin/zookeeper-ca", 364),
        ages.Expiry("public/kafka-ca", 366),
        ages.Expiry("origin/one/kafka", 25, 19),
        ages.Expiry("public/one/kafka", -2, 366),
        ages.Expiry("public/admin", 31, 366),
    ]
    warnings, failures = ages.report(ends, {"reader": 731, "alice": 730}, limits)
    assert warnings == [
        "the certificate public/one/kafka has expired 2 days ago",
        "the authority origin/kafka-ca expires in 19 days",
        "the certificate origin/one/kafka expires in 25 days",
        "the authority origin/zookeeper-ca expires in 364 days",
        "origin/one/kafka outlive their authority, and are worthless when it has expired",
        "the password of reader is 731 days old",
    ]
    assert failures == warnings[:2]
    assert ages.report(ends[2:3], {"reader": 9999}, ages.Limits(password=0)) == ([], [])


def test_an_authority_that_ends_soon_is_loud(settle, monkeypatch):
    settle()
    later = certificates.now() + datetime.timedelta(days=3650 - 19, hours=-1)
    monkeypatch.setattr(certificates, "now", lambda: later)
    warnings, failures = settle().nearing(ages.Limits())
    assert "the authority origin/kafka-ca expires in 19 days" in warnings
    assert "the authority origin/kafka-ca expires in 19 days" in failures


def test_a_passwords_age_is_remembered_from_the_day_it_is_made(settle, tmp_path, monkeypatch):
    settle(users=("reader", "alice"))
    later = certificates.now() + datetime.timedelta(days=800)
    monkeypatch.setattr(certificates, "now", lambda: later)
    path = tmp_path / "secrets/passwords.yml"
    path.write_text("".join(line for line in path.read_text().splitlines(keepends=True) if "alice" not in line))
    state = settle(users=("reader", "alice"))
    assert state.ages == {"reader": 800, "alice": 0}
    assert settle(users=("reader", "alice")).ages == {"reader": 800, "alice": 0}
    assert settle(users=("reader", "alice"), check=True).result()["changed"] is False


def test_a_new_address_renews_that_hosts_certificates_only(settle):
    settle(host("one"), host("two"))
    assert settle(host("one", names=("192.0.2.9",)), host("two")).result()["renewed"] == [
        "origin/one/kafka",
        "origin/one/zookeeper",
    ]


def test_a_host_of_the_ensemble_alone_gets_no_brokers_certificate(settle, tmp_path):
    settle(host("one", kafka=False))
    assert not (tmp_path / "secrets/origin/one/kafka.key").exists()
    assert (tmp_path / "secrets/origin/one/zookeeper.key").exists()


def test_servers_of_archives_have_an_authority_of_their_own(settle, tmp_path):
    settle()
    assert not (tmp_path / "secrets/archives").exists(), "without a server none is needed"
    settle(archives=[{"name": "archive-1", "names": ["192.0.2.7", "archive.example.org"]}])
    authority = Pair.load(tmp_path / "secrets/archives/ca")
    pair = Pair.load(tmp_path / "secrets/archives/archive-1/server")
    pair.certificate.verify_directly_issued_by(authority.certificate)
    assert pair.names() == {"archive-1", "192.0.2.7", "archive.example.org"}
    brokers = Pair.load(tmp_path / "secrets/origin/kafka-ca")
    assert pair.wrong(brokers, "archive-1", [], 30) == "issued by another authority"


def test_several_mirrors_trust_each_other_and_one_alone_needs_nobody(settle, tmp_path):
    mirrors = [{"name": f"mirror-{number}.example.org", "names": [f"192.0.2.{number}"]} for number in (1, 2)]
    settle(mirrors=mirrors[:1])
    assert not (tmp_path / "secrets/mirrors").exists()
    settle(mirrors=mirrors)
    authority = Pair.load(tmp_path / "secrets/mirrors/ca")
    for mirror in mirrors:
        pair = Pair.load(tmp_path / "secrets/mirrors" / mirror["name"] / "rest")
        assert pair.wrong(authority, mirror["name"], [mirror["name"], *mirror["names"]], 30) == ""
    assert settle(mirrors=mirrors).result()["changed"] is False


def monitored(name, *, monitor=False):
    return {"name": name, "names": ["192.0.2.9"], "monitor": monitor}


def test_metrics_have_an_authority_of_their_own_and_without_a_monitor_none(settle, tmp_path):
    settle(monitored=[monitored("one")])
    assert not (tmp_path / "secrets/monitoring").exists()
    settle(monitored=[monitored("one"), monitored("eye", monitor=True)])
    authority = Pair.load(tmp_path / "secrets/monitoring/ca")
    for name, kind, names in [
        ("one", "front", {"one", "192.0.2.9"}),
        ("eye", "front", {"eye", "192.0.2.9"}),
        ("eye", "pages", {"eye", "192.0.2.9", "localhost", "127.0.0.1"}),
    ]:
        pair = Pair.load(tmp_path / "secrets/monitoring" / name / kind)
        assert pair.wrong(authority, name, names, 30) == ""
    assert not (tmp_path / "secrets/monitoring/one/pages.crt").exists()
    brokers = Pair.load(tmp_path / "secrets/origin/kafka-ca")
    assert Pair.load(tmp_path / "secrets/monitoring/one/front").wrong(brokers, "one", [], 30) != ""
    assert settle(monitored=[monitored("one"), monitored("eye", monitor=True)]).result()["changed"] is False


COSTS = {"zads.scrape": hashes.FRONT_COST, "zads.monitor": 5}


def hashes_of(tmp_path):
    return json.loads((tmp_path / "secrets/monitoring/hashes.json").read_text())


def test_a_hash_is_made_once_for_each_password_and_again_when_it_changes(settle, tmp_path):
    settle(users=COSTS, hashed=COSTS)
    path = tmp_path / "secrets/passwords.yml"
    passwords, before = yaml.safe_load(path.read_text()), hashes_of(tmp_path)
    assert set(before) == set(COSTS)
    for user, cost in COSTS.items():
        assert before[user].startswith(f"$2b${cost:02d}$")
        assert bcrypt.checkpw(passwords[user].encode(), before[user].encode())
    assert settle(users=COSTS, hashed=COSTS).result()["changed"] is False
    path.write_text(yaml.safe_dump({**passwords, "zads.monitor": "another"}))
    assert settle(users=COSTS, hashed=COSTS, check=True).result()["changed"]
    assert hashes_of(tmp_path) == before
    settle(users=COSTS, hashed=COSTS)
    assert hashes_of(tmp_path)["zads.scrape"] == before["zads.scrape"]
    assert bcrypt.checkpw(b"another", hashes_of(tmp_path)["zads.monitor"].encode())


def test_check_mode_before_the_first_deployment_makes_no_hash(settle, tmp_path):
    assert settle(users=COSTS, hashed=COSTS, check=True).changes.problems == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("password", "says"), [("guess me", "fewer than 20"), ("x" * 73, "73 bytes")])
def test_a_given_password_that_is_easily_guessed_or_cut_off_is_refused(settle, tmp_path, password, says):
    path = tmp_path / "secrets/passwords.yml"
    settle(users=COSTS, hashed=COSTS)
    path.write_text(yaml.safe_dump({"zads.scrape": password, "zads.monitor": "another"}))
    problems = settle(users=COSTS, hashed=COSTS, source="given").changes.problems
    assert len(problems) == 1
    assert says in problems[0]
    assert password not in problems[0]


def test_a_board_has_a_certificate_of_an_authority_that_no_broker_trusts(settle, tmp_path):
    settle()
    assert not (tmp_path / "secrets/boards").exists()
    boards = [{"name": "board", "names": ["192.0.2.9", "board.example.org"]}]
    settle(boards=boards)
    pair, authority = (Pair.load(tmp_path / "secrets/boards" / name) for name in ("board/https", "ca"))
    assert pair.names() == {"board", "192.0.2.9", "board.example.org"}
    pair.certificate.verify_directly_issued_by(authority.certificate)
    for broker in ("origin/kafka-ca", "origin/zookeeper-ca"):
        assert Pair.load(tmp_path / "secrets" / broker).certificate != authority.certificate
    assert settle(boards=boards).result()["changed"] is False


def test_passwords_stay_and_leave_with_their_users(settle, tmp_path):
    settle(users=("reader", "alice"))
    path = tmp_path / "secrets/passwords.yml"
    before = yaml.safe_load(path.read_text())
    result = settle(users=("reader", "bob")).result()
    after = yaml.safe_load(path.read_text())
    assert after["reader"] == before["reader"]
    assert set(after) == {"reader", "bob"}
    assert len(after["bob"]) >= 32
    assert "alice" in result["diff"]["before"]
    assert not any(secret in str(result) for secret in after.values())


def test_only_the_operator_reads_secrets(settle, tmp_path):
    settle()
    for path in (tmp_path / "secrets").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_the_administrators_configuration_names_every_broker(settle, tmp_path):
    settle(host("one"), host("two", names=("192.0.2.2",)))
    text = (tmp_path / "clients/admin-origin.properties").read_text()
    assert "bootstrap.servers=192.0.2.1:9093,192.0.2.2:9093\n" in text


def test_given_secrets_are_each_demanded_by_name_and_never_made(settle, tmp_path):
    mirrors = [{"name": name, "names": []} for name in ("m1", "m2")]
    problems = settle(host("one"), host("two", "public", kafka=False), mirrors=mirrors, source="given").changes.problems
    secrets = tmp_path / "secrets"
    missing = [
        "origin/kafka-ca", "origin/zookeeper-ca", "origin/one/kafka", "origin/one/zookeeper", "origin/admin",
        "public/kafka-ca", "public/zookeeper-ca", "public/two/zookeeper", "public/admin",
        "mirrors/ca", "mirrors/m1/rest", "mirrors/m2/rest",
    ]  # fmt: skip
    assert [problem.partition(".crt")[0] for problem in problems[:-1]] == [f"{secrets}/{name}" for name in missing]
    assert problems[-1] == f"{secrets}/passwords.yml has no password for reader"
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.parent.name != "clients"] == []


def in_openssls_form(path):
    """Write a key again in the form that Kafka does not read."""
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    form = serialization.PrivateFormat.TraditionalOpenSSL
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda secrets: (secrets / "origin/kafka-ca.crt").unlink(), "origin/kafka-ca.crt is missing"),
        (lambda secrets: (secrets / "origin/one/kafka.key").unlink(), "origin/one/kafka.crt: missing"),
        (
            lambda secrets: (secrets / "origin/one/kafka.key").write_text((secrets / "origin/admin.key").read_text()),
            "origin/one/kafka.crt: its key is another's",
        ),
        (
            lambda secrets: (secrets / "origin/kafka-ca.crt").write_text(
                (secrets / "origin/zookeeper-ca.crt").read_text()
            ),
            "origin/one/kafka.crt: issued by another authority",
        ),
        (
            lambda secrets: in_openssls_form(secrets / "origin/one/kafka.key"),
            "origin/one/kafka.crt: its key is not in the form PKCS#8",
        ),
        (lambda secrets: (secrets / "passwords.yml").write_text("reader: ''\n"), "has no password for reader"),
    ],
)
def test_given_secrets_that_are_wrong_are_refused_by_file_and_reason(settle, tmp_path, spoil, says):
    settle()
    secrets = tmp_path / "secrets"
    spoil(secrets)
    before = {path: path.read_bytes() for path in secrets.rglob("*") if path.is_file()}
    assert any(says in problem for problem in settle(source="given").changes.problems)
    assert {path: path.read_bytes() for path in secrets.rglob("*") if path.is_file()} == before


def test_given_authorities_need_no_key_and_certificates_may_say_more(settle, tmp_path):
    settle()
    secrets = tmp_path / "secrets"
    issuer = Pair.load(secrets / "origin/kafka-ca")
    names = ["one", "192.0.2.1", "localhost", "127.0.0.1", "alerts.example.org"]
    Pair.make(secrets / "origin/one/kafka", "one", names=names, issuer=issuer).save()
    for key in secrets.glob("origin/*-ca.key"):
        key.unlink()
    assert settle(source="given").changes.problems == []


def test_given_secrets_that_are_good_are_taken(settle):
    settle()
    state = settle(source="given")
    assert state.changes.problems == []
    assert state.result()["changed"] is False


def test_an_unreadable_key_is_an_error_and_is_not_replaced(settle, tmp_path):
    settle()
    key = tmp_path / "secrets/origin/kafka-ca.key"
    key.write_text("not a key\n")
    assert "origin/kafka-ca" in settle().changes.problems[0]
    assert key.read_text() == "not a key\n"


@pytest.mark.parametrize(("lost", "there"), [("key", "crt"), ("crt", "key")])
def test_half_an_authority_is_asked_for_and_not_made_again(settle, tmp_path, lost, there):
    settle()
    secrets = tmp_path / "secrets"
    (secrets / f"origin/kafka-ca.{lost}").unlink()
    (secrets / "passwords.yml").unlink()
    before = {path: path.read_bytes() for path in secrets.rglob("*") if path.is_file()}
    problem = settle().changes.problems[0]
    assert problem.startswith(f"{secrets}/origin/kafka-ca.{lost} is missing, but origin/kafka-ca.{there} is there")
    assert {path: path.read_bytes() for path in secrets.rglob("*") if path.is_file()} == before


def test_certificates_that_are_wanted_anew_are_made_again_and_nothing_else(settle, tmp_path):
    sites = (host("one"), host("two", "public"))
    settle(*sites)
    before = {path: path.read_bytes() for path in (tmp_path / "secrets").rglob("*") if path.is_file()}
    planned = settle(*sites, anew=["public/*"], check=True).result()["renewed"]
    assert planned == ["public/two/kafka", "public/two/zookeeper", "public/admin"]
    assert settle(*sites, anew=["public/*"]).result()["renewed"] == planned
    changed = {path for path, content in before.items() if path.read_bytes() != content}
    files = {f"{name}.{kind}" for name in planned for kind in ("crt", "key")}
    assert {str(path.relative_to(tmp_path / "secrets")) for path in changed} == files
    assert settle(*sites).result()["changed"] is False
    assert "a new one is wanted" in settle(*sites, anew=["*"], source="given").changes.problems[0]


def test_a_second_authority_issues_only_after_its_second_step(settle, tmp_path):
    settle()
    path = tmp_path / "secrets/origin/kafka-ca"
    assert Authority.load(path).advance().step == 1
    state = settle()
    assert state.result()["changed"] is False, "everybody's certificates stay"
    names = [one.name for one in state.authorities.ends if one.authority is None]
    assert names == ["origin/kafka-ca", "origin/kafka-ca (trusted, issues nothing)", "origin/zookeeper-ca"]
    second = Authority.load(path).advance()
    result = settle().result()
    assert result["renewed"] == ["origin/one/kafka", "origin/admin"]
    assert settle().result()["changed"] is False
    leaf = Pair.load(tmp_path / "secrets/origin/one/kafka")
    assert leaf.wrong(second.issuer, "one", ["one", "192.0.2.1", "localhost", "127.0.0.1"], 30) == ""
    second.advance()
    assert settle().result()["changed"] is False


def test_given_certificates_may_be_of_any_authority_that_is_given(settle, tmp_path):
    settle()
    path = tmp_path / "secrets/origin/kafka-ca"
    Authority.load(path).advance().advance()
    assert settle(source="given").changes.problems == [], "the old authority has issued them, and is still trusted"
    Authority.load(path).advance()
    assert "issued by another authority" in settle(source="given").changes.problems[0]


def test_a_replaced_password_is_kept_until_the_new_one_has_served(settle, tmp_path):
    users = ("reader", "zads.mirror", "zads.producer")
    settle(users=users)
    path, kept = tmp_path / "secrets/passwords.yml", tmp_path / "secrets/passwords-before.yml"
    first = yaml.safe_load(path.read_text())
    planned = settle(users=users, passwords=["zads.*"], check=True).result()
    assert planned["replacing"] == ["zads.mirror", "zads.producer"]
    assert yaml.safe_load(path.read_text()) == first
    assert not kept.exists()
    result = settle(users=users, passwords=["zads.*"]).result()
    second = yaml.safe_load(path.read_text())
    assert {user for user in users if first[user] != second[user]} == {"zads.mirror", "zads.producer"}
    assert yaml.safe_load(kept.read_text()) == {user: first[user] for user in ("zads.mirror", "zads.producer")}
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert not any(secret in str(result) for secret in (*first.values(), *second.values()))
    again = settle(users=users, passwords=["*"]).result()
    assert (again["replacing"], again["changed"]) == (["zads.mirror", "zads.producer"], False), "continued, not begun"
    assert settle(users=users).result()["changed"] is False, "a deployment leaves it as it is"


def test_a_change_of_passwords_that_was_interrupted_before_it_made_any_makes_them(settle, tmp_path):
    """The former passwords are on the disk first. Nobody may take them for replaced ones."""
    settle(users=("reader", "alice"))
    path = tmp_path / "secrets/passwords.yml"
    before = yaml.safe_load(path.read_text())
    (tmp_path / "secrets/passwords-before.yml").write_text(yaml.safe_dump({"alice": before["alice"]}))
    result = settle(users=("reader", "alice"), passwords=["reader"]).result()
    after = yaml.safe_load(path.read_text())
    assert result["renewed"] == ["password of alice"]
    assert after["reader"] == before["reader"]
    assert after["alice"] != before["alice"]
