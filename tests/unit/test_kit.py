"""A subscriber's kit: every format gives the same password, and the kit holds only what its user may read."""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zads import kafka, kit, names
from zads.errors import ZadsError
from zads.kit import Kit
from zads.site.policy import Policy

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = ROOT / "roles/access/templates/kit"
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\nfzCC=\n-----END CERTIFICATE-----\n"
BROKERS = ["broker-1.example.org:9094", "[2001:db8::7]:19094"]
PASSWORDS = [
    "plain", "#hash", "a#b", 'double"quote', "single'quote", "back\\slash", "\\", "\\n", "\\u0041", "$HOME", "${x}",
    "a=b", "=", "a b", "ü€", "日本", "\U0001f52d", "{{ x }}", "{% raw %}", "a:b", "!x", "%s", "a;b", '";', "`id`",
]  # fmt: skip

POLICY = Policy.read(
    {
        "topics_night": {"partitions": 1, "replication_factor": 2, "min_insync_replicas": 1, "retention_days": 7},
        "programmes": {1: {"sites": ["origin", "public"]}, 2: {"sites": ["origin"]}},
        "users": [
            {"name": "reader", "site": "public", "programmes": [1]},
            {"name": "alice", "site": "public"},
            {"name": "nobody", "site": "public"},
            {"name": "partner", "site": "origin", "programmes": [2, 1]},
            {"name": "u" * 63, "site": "public", "programmes": [1]},
        ],
        "filter_groups": {"g": {}},
        "filters": [
            {"name": "novae", "owner": "alice", "group": "g", "state": "active"},
            {"name": "tried", "owner": "alice", "group": "g", "state": "shadow"},
        ],
    }
)


def made(user: str = "reader", password: str = "plain", brokers: list[str] | None = None) -> dict[str, str]:
    """The texts of a user's kit."""
    files = Kit.of(POLICY, user, password, brokers or BROKERS, CERTIFICATE).files(TEMPLATES)
    return {name: file.data.decode() for name, file in files.items()}


# ---- what each format's own reader finds -------------------------------------------------------------------------


def java_properties(text: str) -> dict[str, str]:
    """As java.util.Properties.load reads a stream: Latin-1, ``\\uXXXX``, other escapes, continued lines."""
    assert text.encode("latin-1").decode("ascii") == text
    found = {}
    for line in re.sub(r"(?<!\\)((?:\\\\)*)\\\n[ \t]*", r"\1", text).splitlines():
        if not line.strip() or line.lstrip()[0] in "#!":
            continue
        match = re.match(r"\s*((?:\\.|[^\\=: ])+)\s*[=:]?\s*(.*)", line)
        assert match is not None
        units = re.sub(
            r"\\(u([0-9a-fA-F]{4})|.)",
            lambda one: chr(int(one[2], 16)) if one[2] else {"n": "\n", "r": "\r", "t": "\t"}.get(one[1], one[1]),
            match[2],
        )
        found[match[1]] = units.encode("utf-16", "surrogatepass").decode("utf-16")
    return found


def jaas_options(text: str) -> dict[str, str]:
    """As Kafka's JaasConfig reads one line with a java.io.StreamTokenizer: CLASS FLAG NAME="VALUE"… ;"""
    head, rest = text.split(" required ", 1)
    assert head == "org.apache.kafka.common.security.scram.ScramLoginModule"
    options, end = {}, 0
    for one in re.finditer(r'\s*(\w+)="((?:\\.|[^"\\])*)"', rest):
        assert one.start() == end
        options[one[1]] = re.sub(r"\\(.)", r"\1", one[2])
        end = one.end()
    assert rest[end:] == ";"
    return options


def passwords_told(files: dict[str, str], directory: Path, user: str) -> dict[str, str]:
    """The password by the file that tells it, each read as its client reads it."""
    path = directory / "librdkafka.properties"
    path.write_text(files["librdkafka.properties"])
    java = java_properties(files["java.properties"])
    jaas = jaas_options(java["sasl.jaas.config"])
    entries = tomllib.loads(files["auth.toml"])["auth"]
    properties = kafka.read_properties(path)
    assert {jaas["username"], properties["sasl.username"], *(entry["username"] for entry in entries)} == {user}
    assert java["ssl.truststore.certificates"] == CERTIFICATE
    assert [entry["hostname"] for entry in entries] == BROKERS
    assert properties["bootstrap.servers"] == java["bootstrap.servers"] == ",".join(BROKERS)
    return {
        "librdkafka": properties["sasl.password"],
        "java": jaas["password"],
        **{f"hop {number}": entry["password"] for number, entry in enumerate(entries)},
    }


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize("user", ["reader", "u" * 63])
def test_every_file_tells_its_client_the_same_password(password: str, user: str, tmp_path: Path) -> None:
    assert set(passwords_told(made(user, password), tmp_path, user).values()) == {password}


@given(st.text(min_size=1, max_size=40))
def test_a_password_is_told_right_or_refused(tmp_path_factory: pytest.TempPathFactory, password: str) -> None:
    try:
        kit.check_password("reader", password)
    except ZadsError:
        return
    told = passwords_told(made(password=password), tmp_path_factory.mktemp("kit"), "reader")
    assert set(told.values()) == {password}


@pytest.mark.parametrize("password", PASSWORDS)
def test_kcat_and_the_programs_read_that_password_too(
    password: str, tmp_path: Path, program: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "librdkafka.properties").write_text(made(password=password)["librdkafka.properties"])
    monkeypatch.setattr(program, "HERE", tmp_path)
    assert program.settings()["sasl.password"] == password
    command = ["kcat", "-F", str(tmp_path / "librdkafka.properties"), "-X", "dump"]
    dump = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert f"sasl.password = {password}\n" in dump


@pytest.mark.parametrize(
    "password", ["", " a", "a ", "a\nb", "a\x00b", "\x7f", "ﬁ", "a\u00a0b", "a\u2028b", "\ud800", "x" * 300]
)
def test_a_password_that_not_every_client_can_be_told_is_refused(password: str) -> None:
    with pytest.raises(ZadsError, match="the password of reader"):
        made(password=password)


# ---- what a kit holds --------------------------------------------------------------------------------------------


def test_a_kit_is_complete() -> None:
    files = Kit.of(POLICY, "reader", "plain", BROKERS, CERTIFICATE).files(TEMPLATES)
    wanted = {
        "README.md", "ca.pem", "librdkafka.properties", "java.properties", "auth.toml", "topics.txt", "kit.py",
        "kcat.sh", "java.sh", "hop.sh", "lag.py", "my_filters.py", "check_connection.py", "reach.py",
        "franz-go/main.go", "franz-go/go.mod", "franz-go/go.sum",
    }  # fmt: skip
    programs = {name for name in files if name.startswith("read_")}
    assert set(files) == wanted | programs
    assert {name for name, file in files.items() if file.program} == programs | {
        "kcat.sh",
        "java.sh",
        "hop.sh",
        "lag.py",
        "my_filters.py",
        "check_connection.py",
    }
    assert {file.mode for file in files.values()} == {0o600, 0o700}


def test_a_kit_names_what_its_user_may_read() -> None:
    def lines(user: str) -> list[str]:
        return [line for line in made(user)["topics.txt"].splitlines() if not line.startswith("#")]

    (pattern,) = lines("partner")
    assert re.match(pattern, "ztf_20181129_programid2")
    assert re.match(pattern, "ztf_20181129_programid1")
    assert not re.match(pattern, "ztf_20181129_programid3")
    assert lines("alice") == ["ztf_filter_novae", "ztf_filter_tried"]
    assert lines("nobody") == []
    readme = made("alice")["README.md"]
    assert "`ztf_filter_novae`" in readme
    assert "programid" not in readme
    assert "none yet" in made("nobody")["README.md"]


def test_a_kit_knows_one_password_and_no_key() -> None:
    texts = "".join(made("partner", "Gh7secret").values())
    assert "PRIVATE KEY" not in texts
    assert made("partner", "Gh7secret")["README.md"].count("Gh7secret") == 0
    assert not re.findall(r"alice|\breader\b", made("partner")["README.md"])


def test_no_file_of_a_kit_presets_a_group_and_a_new_group_begins_with_the_oldest_alert(tmp_path: Path) -> None:
    files = made()
    java = java_properties(files["java.properties"])
    (tmp_path / "librdkafka.properties").write_text(files["librdkafka.properties"])
    properties = kafka.read_properties(tmp_path / "librdkafka.properties")
    assert "group.id" not in properties
    assert "group.id" not in java
    assert properties["auto.offset.reset"] == java["auto.offset.reset"] == "earliest"
    assert properties["isolation.level"] == java["isolation.level"] == "read_committed"


def test_the_certificate_is_found_beside_the_properties_from_any_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kit").mkdir()
    (tmp_path / "kit" / "librdkafka.properties").write_text(made()["librdkafka.properties"])
    monkeypatch.chdir(tmp_path)
    properties = kafka.read_properties("kit/librdkafka.properties")
    assert properties["ssl.ca.location"] == str(tmp_path / "kit" / "ca.pem")


def test_no_line_is_longer_than_kcat_takes() -> None:
    brokers = [f"broker-{number}.some-site.example.org:9094" for number in range(100)]
    files = made("u" * 63, "x" * 250, brokers)
    assert max(len(line.encode()) for line in files["librdkafka.properties"].splitlines()) <= kit.LINE_BYTES
    assert brokers[0] in files["librdkafka.properties"]


# ---- its programs ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def program() -> Any:
    """What the kit's Python programs share."""
    sys.path.insert(0, str(TEMPLATES))
    try:
        import kit as program
    finally:
        sys.path.remove(str(TEMPLATES))
    return program


def test_the_owners_program_reads_the_topic_that_workers_write() -> None:
    [topic] = re.findall(r'^TOPIC = "(.*)"$', (TEMPLATES / "my_filters.py").read_text(), re.MULTILINE)
    assert topic.format(user="alice") == names.owner_topic("alice")


def test_wanted_topics_are_matched_by_name_or_pattern(program: ModuleType) -> None:
    available = {"ztf_20181129_programid1", "ztf_filter_a", "ztf_filter_ab"}
    assert program.matching(["^ztf_[0-9]{8}_programid1$"], available) == ["ztf_20181129_programid1"]
    assert program.matching(["ztf_filter_a"], available) == ["ztf_filter_a"]
    both = re.compile(program.expression(["^ztf_2.*$", "ztf_filter_a"]))
    assert [name for name in sorted(available) if both.search(name)] == ["ztf_20181129_programid1", "ztf_filter_a"]


def test_a_start_is_a_word_or_a_time_in_utc(program: ModuleType) -> None:
    assert program.moment("now") == "now"
    assert program.moment("2018-11-29T04:00") == program.moment("2018-11-29T04:00Z") == 1543464000000
    assert program.moment("2018-11-29T04:00+01:00") == 1543460400000


@pytest.mark.parametrize("path", sorted(TEMPLATES.glob("*.py")), ids=lambda path: path.name)
def test_a_program_is_python_of_version_3_9(path: Path) -> None:
    ast.parse(path.read_text(), feature_version=(3, 9))
    list(tokenize.generate_tokens(io.StringIO(path.read_text()).readline))


@pytest.mark.parametrize("path", sorted(TEMPLATES.glob("*.sh")), ids=lambda path: path.name)
def test_a_script_is_one_for_any_shell(path: Path) -> None:
    subprocess.run(["sh", "-n", str(path)], check=True)
