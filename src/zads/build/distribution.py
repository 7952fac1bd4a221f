"""The Kafka distribution, in the layout of Apache's tarball: jars by Maven, each with a pinned hash."""

from __future__ import annotations

import gzip
import json
import re
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
#: A version that an inventory names for a site or a host.
_NAMED = re.compile(r"\bkafka_version:\s*[\"']?(\d+(?:\.\d+)+)")


def kafka(root: Path, say: step.Say, version: str = "") -> Archive:
    """The distribution as a tarball, built if it is missing; its record is ``.zads/cache/kafka/VERSION.json``.

    ``root`` is the repository; without a version it is that of a new site (``images/kafka/pom.xml``), whose record is
    also ``current.json``. The archive's tag is Kafka's version. Raises ZadsError if no jars of this version are
    pinned, if Maven fails, or naming the jar that is missing, unexpected or differs from ``jars/VERSION.sha256``.
    """
    sources, cache = root / "images" / "kafka", root / ".zads" / "cache" / "kafka"
    newest = _pom_version(sources / "pom.xml")
    version = version or newest
    if version not in pinned(root):
        known = ", ".join(pinned(root))
        raise ZadsError(f"no jars of Kafka {version} are pinned", hint=f"images/kafka/jars has lists of {known}")
    result = _built(sources, cache, version, say)
    found = json.dumps({"version": version, "archive": result.archive, "sha256": result.sha256}, indent=1) + "\n"
    for name in (version, "current") if version == newest else (version,):
        wholefile.write(cache / f"{name}.json", found)
    return result


def pinned(root: Path) -> list[str]:
    """The versions whose jars are pinned."""
    return sorted(path.stem for path in (root / "images" / "kafka" / "jars").glob("*.sha256"))


def wanted(root: Path) -> list[str]:
    """The versions that inventories name and that are built here, besides that of a new site."""
    text = "\n".join(path.read_text() for path in sorted(root.glob("inventories/*/**/*.yml")))
    return sorted(set(_NAMED.findall(text)) & set(pinned(root)))


def _built(sources: Path, cache: Path, version: str, say: step.Say) -> Archive:
    """The tarball of one version, made unless it is there."""
    pins = sources / "jars" / f"{version}.sha256"
    made_of = [sources / "pom.xml", sources / "bin", sources / "config", pins]
    record, archive = cache / f"{version}.json", cache / f"kafka-{version}-{inputs_hash(made_of)}.tgz"
    if archive.exists() and record.exists():
        known = json.loads(record.read_text())
        if known["archive"] == str(archive):
            return Archive("kafka", version, str(archive), known["sha256"])
    say(f"Kafka {version}: jars by Maven")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="zads-kafka-") as temporary:
        top = Path(temporary) / f"kafka_2.13-{version}"
        _lay_out(sources, version, top)
        partial = archive.with_suffix(".partial")
        pack(top, partial)
        partial.rename(archive)
    return Archive("kafka", version, str(archive), file_sha256(archive))


def _lay_out(sources: Path, version: str, top: Path) -> None:
    """Make the distribution's directories from ``images/kafka``."""
    _fetch_jars(sources / "pom.xml", version, top / "libs")
    check_jars(top / "libs", sources / "jars" / f"{version}.sha256")
    shutil.copytree(sources / "bin", top / "bin")
    shutil.copytree(sources / "config", top / "config")
    for script in KAFKA_SCRIPTS:
        (top / "bin" / script).symlink_to("kafka-run-class.sh")


def _fetch_jars(pom: Path, version: str, target: Path) -> None:
    command = ["mvn", "-B", "-q", "-f", str(pom), f"-Dkafka.version={version}", "dependency:copy-dependencies"]
    hint = "is a Maven repository reachable (~/.m2/settings.xml)? or set kafka_archive in the inventory"
    step.run([*command, f"-DoutputDirectory={target}"], "Maven could not resolve the Kafka distribution", hint=hint)


def check_jars(directory: Path, pins: Path) -> None:
    """Compare a directory's jars with a list of ``sha256sum``. Raises ZadsError naming the first that differs."""
    listed = {name: digest for digest, name in (line.split() for line in pins.read_text().splitlines())}
    found = {path.name: file_sha256(path) for path in directory.glob("*.jar")}
    for name in sorted(listed.keys() | found.keys()):
        if listed.get(name) != found.get(name):
            state = "is missing" if name not in found else "is not listed" if name not in listed else "differs"
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
