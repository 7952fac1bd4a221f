"""The Kafka distribution, in the layout of Apache's tarball: jars by Maven, each with a pinned hash."""

from __future__ import annotations

import gzip
import json
import shutil
import tarfile
import tempfile
from pathlib import Path

from zads import wholefile
from zads.build import step
from zads.build.archive import Archive
from zads.build.inputs import file_sha256, inputs_hash
from zads.errors import ZadsError

#: Names beside kafka-run-class.sh in the distribution's bin/, all links to it.
KAFKA_SCRIPTS = (
    "kafka-server-start.sh zookeeper-server-start.sh zookeeper-shell.sh connect-mirror-maker.sh kafka-topics.sh "
    "kafka-configs.sh kafka-acls.sh kafka-consumer-groups.sh kafka-console-consumer.sh kafka-console-producer.sh "
    "kafka-leader-election.sh kafka-reassign-partitions.sh kafka-broker-api-versions.sh kafka-transactions.sh "
    "kafka-get-offsets.sh kafka-dump-log.sh kafka-log-dirs.sh"
).split()


def kafka(root: Path, say: step.Say) -> Archive:
    """The distribution as a tarball, built if it is missing; its record is ``.zads/cache/kafka/current.json``.

    ``root`` is the repository; the archive's tag is Kafka's version. Raises ZadsError if Maven fails, or naming the jar
    that is missing, unexpected or differs from ``images/kafka/jars.sha256``.
    """
    sources, cache = root / "images" / "kafka", root / ".zads" / "cache" / "kafka"
    version = _pom_version(sources / "pom.xml")
    record, archive = cache / "current.json", cache / f"kafka-{version}-{inputs_hash([sources])}.tgz"
    if archive.exists() and record.exists():
        known = json.loads(record.read_text())
        if known["archive"] == str(archive):
            return Archive("kafka", version, str(archive), known["sha256"])
    say(f"Kafka {version}: jars by Maven")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="zads-kafka-") as temporary:
        top = Path(temporary) / f"kafka_2.13-{version}"
        _lay_out(sources, top)
        partial = archive.with_suffix(".partial")
        pack(top, partial)
        partial.rename(archive)
    result = Archive("kafka", version, str(archive), file_sha256(archive))
    found = {"version": version, "archive": result.archive, "sha256": result.sha256}
    wholefile.write(record, json.dumps(found, indent=1) + "\n")
    return result


def _lay_out(sources: Path, top: Path) -> None:
    """Make the distribution's directories from ``images/kafka``."""
    _fetch_jars(sources / "pom.xml", top / "libs")
    check_jars(top / "libs", sources / "jars.sha256")
    shutil.copytree(sources / "bin", top / "bin")
    shutil.copytree(sources / "config", top / "config")
    for script in KAFKA_SCRIPTS:
        (top / "bin" / script).symlink_to("kafka-run-class.sh")


def _fetch_jars(pom: Path, target: Path) -> None:
    command = ["mvn", "-B", "-q", "-f", str(pom), "dependency:copy-dependencies", f"-DoutputDirectory={target}"]
    hint = "is a Maven repository reachable (~/.m2/settings.xml)? or set kafka_archive in the inventory"
    step.run(command, "Maven could not resolve the Kafka distribution", hint=hint)


def check_jars(directory: Path, pins: Path) -> None:
    """Compare a directory's jars with a list of ``sha256sum``. Raises ZadsError naming the first that differs."""
    wanted = {name: digest for digest, name in (line.split() for line in pins.read_text().splitlines())}
    found = {path.name: file_sha256(path) for path in directory.glob("*.jar")}
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            state = "is missing" if name not in found else "is not listed" if name not in wanted else "differs"
            raise ZadsError(f"jar {name} {state}", hint=f"{pins.name} lists what the distribution may hold")


def _pom_version(pom: Path) -> str:
    return pom.read_text().partition("<kafka.version>")[2].partition("<")[0]


def pack(top: Path, target: Path) -> None:
    """Write a directory as a .tgz that depends on its contents alone: sorted names, no times, no owners."""

    def anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = member.mtime = 0
        member.uname = member.gname = "root"
        return member

    with (
        target.open("wb") as raw,
        gzip.GzipFile("", "wb", 1, raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for path in sorted(top.rglob("*")):
            archive.add(path, path.relative_to(top.parent), recursive=False, filter=anonymous)
