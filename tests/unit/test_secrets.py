"""Secrets are made once, renewed in time, never silently when they are given, and never shown."""

import datetime
import importlib.util
import stat
from pathlib import Path

import pytest
import yaml

pytest.importorskip("ansible")
MODULE = Path(__file__).parents[2] / "ansible/plugins/modules/site_secrets.py"


@pytest.fixture(scope="module")
def site_secrets():
    spec = importlib.util.spec_from_file_location("site_secrets", MODULE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def host(name, site="origin", *, kafka=True, names=("192.0.2.1",)):
    bootstrap = f"{names[0]}:9093" if kafka else ""
    return {"name": name, "site": site, "kafka": kafka, "names": list(names), "bootstrap": bootstrap}


@pytest.fixture
def settle(site_secrets, tmp_path):
    def run(*hosts, users=("reader",), source="generated", check=False, renew_days=30):
        params = {
            "directory": str(tmp_path / "secrets"),
            "clients": str(tmp_path / "clients"),
            "hosts": list(hosts) or [host("one")],
            "passwords": list(users),
            "source": source,
            "renew_days": renew_days,
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


def test_certificates_are_for_their_host_by_name_and_address(settle, site_secrets, tmp_path):
    settle(host("one", names=("192.0.2.1", "one.example.org")))
    pair = site_secrets.Pair.load(tmp_path / "secrets/origin/one/kafka")
    assert pair.names() == {"one", "192.0.2.1", "one.example.org", "localhost", "127.0.0.1"}
    assert pair.certificate.subject.rfc4514_string() == "CN=one"


def test_each_site_trusts_its_own_and_the_ensemble_another_authority(settle, site_secrets, tmp_path):
    settle(host("one"), host("two", "public"))
    load = site_secrets.Pair.load
    secrets = tmp_path / "secrets"
    own, ensemble, other = (
        load(secrets / name) for name in ("origin/kafka-ca", "origin/zookeeper-ca", "public/kafka-ca")
    )
    leaf = load(secrets / "origin/one/kafka")
    leaf.certificate.verify_directly_issued_by(own.certificate)
    for stranger in (ensemble, other):
        assert leaf.wrong(stranger, "one", [], 30) == "issued by another authority"


def test_authorities_last_ten_years_and_certificates_two(settle, site_secrets, tmp_path):
    settle()
    assert site_secrets.Pair.load(tmp_path / "secrets/origin/kafka-ca").days in (3649, 3650)
    assert site_secrets.Pair.load(tmp_path / "secrets/origin/one/kafka").days in (729, 730)


def test_a_certificate_is_renewed_before_it_expires_and_its_authority_stays(settle, site_secrets, monkeypatch):
    settle()
    later = site_secrets.now() + datetime.timedelta(days=705)
    monkeypatch.setattr(site_secrets, "now", lambda: later)
    result = settle().result()
    assert sorted(result["renewed"]) == ["origin/admin", "origin/one/kafka", "origin/one/zookeeper"]
    assert result["created"] == []
    assert settle().result()["changed"] is False


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


def test_given_secrets_are_demanded_by_file_and_never_made(settle, tmp_path):
    problems = settle(source="given").problems
    assert any("origin/kafka-ca.crt" in problem for problem in problems)
    assert any("passwords.yml has no password for reader" in problem for problem in problems)
    assert list((tmp_path / "secrets").rglob("*.key")) == []


def test_given_secrets_that_are_good_are_taken(settle):
    settle()
    state = settle(source="given")
    assert state.problems == []
    assert state.result()["changed"] is False


def test_an_unreadable_key_is_an_error_and_is_not_replaced(settle, tmp_path):
    settle()
    key = tmp_path / "secrets/origin/kafka-ca.key"
    key.write_text("not a key\n")
    assert "origin/kafka-ca" in settle().problems[0]
    assert key.read_text() == "not a key\n"
