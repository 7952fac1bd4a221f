"""A host says which versions of Kafka it has, and which of them run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

UNIT = "ExecStart=/usr/lib/jvm/java-21/bin/java -Xmx1g -cp {}/libs/* kafka.Kafka /etc/kafka/server.properties\n"


@pytest.fixture(scope="module")
def host(plugin: Callable[[str], ModuleType]) -> ModuleType:
    return plugin("modules/host_versions.py")


def distribution(directory: Path, version: str, *, whole: bool = True) -> Path:
    home = directory / f"kafka_{version}-0123456789ab"
    (home / "libs").mkdir(parents=True)
    for jar in (f"kafka_2.13-{version}", "zookeeper-3.8.4", "zookeeper-jute-3.8.4", f"kafka-clients-{version}"):
        (home / "libs" / f"{jar}.jar").touch()
    if whole:
        (home / ".whole").touch()
    return home


def test_a_version_is_that_of_its_jars(host: ModuleType, tmp_path: Path) -> None:
    home = str(distribution(tmp_path, "3.8.1"))
    assert host.named(UNIT.format(home)) == home
    assert (host.version(home), host.version(home, "zookeeper")) == ("3.8.1", "3.8.4")


def test_a_directory_that_is_gone_still_says_its_version(host: ModuleType) -> None:
    assert host.version("/opt/kafka_3.9.1-0123456789ab") == "3.9.1"
    assert host.version("/opt/kafka_3.9.1-0123456789ab", "zookeeper") == ""
    assert (host.version(""), host.named("ExecStart=/bin/true")) == ("", "")


def test_a_protocol_that_no_line_names_is_the_newest_of_what_runs(host: ModuleType) -> None:
    assert host.protocol("a=b\ninter.broker.protocol.version=3.8-IV0\n", "3.9.1") == "3.8"
    assert host.protocol("# inter.broker.protocol.version=3.8\n", "3.9.1") == "3.9"


def test_a_java_says_its_version_or_has_it_in_its_name(host: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "release").write_text('IMPLEMENTOR="x"\nJAVA_VERSION="21.0.4"\n')
    starts = "ExecStart={}/bin/java -Xmx1g\n"
    assert host.java(starts.format(tmp_path)) == "21.0.4"
    assert host.java(starts.format("/nowhere/java-17-openjdk-amd64")) == "17"
    assert host.java(starts.format("/opt/another-java")) == "/opt/another-java"
    assert host.java("ExecStart=/bin/true\n") == ""


def test_only_whole_directories_are_kept(host: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "OPT", tmp_path)
    home = distribution(tmp_path, "3.8.1")
    distribution(tmp_path, "3.9.1", whole=False)
    assert host.kept() == {"3.8.1": [str(home)]}


def test_a_broker_is_described_by_its_unit_its_process_and_its_files(
    host: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = (str(distribution(tmp_path, version)) for version in ("3.8.1", "3.9.1"))
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "cmdline").write_text(UNIT.format(old).replace(" ", "\0"))
    (tmp_path / "kafka.service").write_text(UNIT.format(new))
    monkeypatch.setattr(host, "PROC", tmp_path)
    monkeypatch.setattr(host, "UNITS", tmp_path)
    found = host.daemon("kafka", "7")
    assert (found["version"], found["home"], found["runs"], found["runs_from"]) == ("3.9.1", new, "3.8.1", old)
    assert found["whole"] is True
    assert host.daemon("kafka", "0")["runs"] == ""
    assert host.daemon("zookeeper", "0")["version"] == ""
