"""Container images and the Kafka distribution, built from what the repository pins.

Every image is tagged by a hash of its inputs (its own files, and its parent's tag): one that exists is up to date, and
nothing is built for nothing. All start from a Debian root made here by ``mmdebstrap``: no registry is asked. Images
that inventories deploy are exported as checksummed archives, with a record of each: ``.zads/cache/images/NAME.json``.
"""

from __future__ import annotations

import functools
import grp
import gzip
import hashlib
import json
import os
import pwd
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import docker
import docker.errors

from zads import wholefile
from zads.errors import ZadsError
from zads.filters import packages

#: Label of everything that this project creates in the container engine.
LABEL = "zads"
#: Java of each Debian release: what the role `java` installs there.
HOST_PACKAGES = {
    "bookworm": "docker.io openjdk-17-jre-headless",
    "trixie": "docker.io docker-cli openjdk-21-jre-headless",
}
#: The release that the programs' images are made of, and the Python that it has (wheels are chosen for it).
BASE_SUITE, BASE_PYTHON = "bookworm", packages.PYTHON
#: Digits of the hash that an image's tag is.
HASH_DIGITS = 12
#: Images that are deployed to hosts, and the directory below ``images`` that each is made of.
DEPLOYED = {"producer": "zads", "mirrormaker": "mirrormaker", "filter-worker": "zads"}
#: Names beside kafka-run-class.sh in the distribution's bin/, all links to it.
KAFKA_SCRIPTS = (
    "kafka-server-start.sh zookeeper-server-start.sh zookeeper-shell.sh connect-mirror-maker.sh kafka-topics.sh "
    "kafka-configs.sh kafka-acls.sh kafka-consumer-groups.sh kafka-console-consumer.sh kafka-console-producer.sh "
    "kafka-leader-election.sh kafka-reassign-partitions.sh kafka-broker-api-versions.sh kafka-transactions.sh "
    "kafka-get-offsets.sh kafka-dump-log.sh kafka-log-dirs.sh"
).split()


@dataclass(frozen=True)
class Archive:
    """A file that is delivered to hosts: what it is called there, where it lies here, its SHA-256."""

    name: str
    tag: str
    archive: str
    sha256: str


class Builder:
    """Builds what an inventory needs into the local engine and ``.zads/cache``.

    ``root`` is the repository; ``say`` gets one line for each step that takes time.
    Errors: ZadsError with the last lines of the failed step.
    """

    def __init__(self, root: Path, say: Callable[[str], None] = print) -> None:
        self.root = root
        self.cache = root / ".zads" / "cache"
        self.say = say
        self._engine = docker.from_env(timeout=600)

    # --- images ------------------------------------------------------------------------------------------------

    def host(self, suite: str = BASE_SUITE) -> str:
        """The tag of a machine that boots systemd, of one Debian release."""
        if suite not in HOST_PACKAGES:
            raise ZadsError(f"no host image for Debian {suite!r}", hint=f"lab_image is one of {sorted(HOST_PACKAGES)}")
        directory = self.root / "images" / "host"
        parent = self.debian(suite)
        return self._image(f"host-{suite}", [directory], {"ROOT": parent, "PACKAGES": HOST_PACKAGES[suite]}, directory)

    def base(self, name: str = "base", lists: Sequence[Path] = ()) -> str:
        """The tag of the image that a program's image starts from, with the packages of some lists (the runtime's)."""
        directory = self.root / "images" / "base"
        wanted = list(lists) or [self.root / "requirements" / "runtime.txt"]
        with tempfile.TemporaryDirectory(prefix="zads-base-") as temporary:
            context = Path(temporary)

            def fill() -> None:
                (context / "lists").mkdir()
                for number, path in enumerate(wanted):
                    shutil.copy(path, context / "lists" / f"{number}.txt")
                shutil.copytree(self._wheels(wanted), context / "wheels")

            return self._image(name, [directory, *wanted], {"ROOT": self.debian(BASE_SUITE)}, directory, context, fill)

    def program(self, name: str, env: str = "") -> str:
        """The tag of a deployed image: producer, mirrormaker or filter-worker.

        With `env` it is the filter-worker of an inventory that adds packages.
        """
        directory = self.root / "images" / DEPLOYED[name]
        inputs = [directory]
        kafka = self.kafka() if name == "mirrormaker" else None
        if kafka is None:
            inputs += [self.root / "src", self.root / "schemas", self.root / "pyproject.toml"]
        base = self.base("base-filters", self._lists(env)) if name == "filter-worker" else self.base()
        with tempfile.TemporaryDirectory(prefix=f"zads-{name}-") as temporary:
            context = Path(temporary)

            def fill() -> None:
                shutil.copytree(directory, context, dirs_exist_ok=True)
                if kafka is None:
                    (context / "wheel").mkdir()
                    shutil.copy(self._wheel(), context / "wheel")
                else:
                    shutil.unpack_archive(kafka.archive, context)
                    next(context.glob("kafka_*")).rename(context / "kafka")

            distribution = kafka.sha256 if kafka else ""
            return self._image(_named(name, env), inputs, {"BASE": base}, directory, context, fill, extra=distribution)

    def _lists(self, env: str) -> list[Path]:
        """The packages of a filter worker: those of every one, and what an inventory adds."""
        own = own_packages(self.root)
        return [self.root / "requirements" / "filters.txt", *([own[env]] if env else [])]

    def export(self, program: str, env: str = "") -> Archive:
        """A deployed image as a zstd archive beside its record ``.zads/cache/images/NAME.json``.

        NAME is the program's, with ``-ENV`` for the filter-worker of an inventory that adds packages.
        """
        name, tag = _named(program, env), self.program(program, env)
        record = self.cache / "images" / f"{name}.json"
        archive = self.cache / "images" / f"{name}-{tag.rpartition(':')[2]}.tar.zst"
        if record.exists() and archive.exists():
            known = Archive(**json.loads(record.read_text()))
            if known.tag == tag:
                return known
        self.say(f"archive of {tag}")
        archive.parent.mkdir(parents=True, exist_ok=True)
        for old in archive.parent.glob(f"{name}-{'?' * HASH_DIGITS}.tar.zst*"):
            old.unlink()
        partial = archive.with_suffix(".partial")
        with partial.open("wb") as target:
            save = subprocess.Popen(["docker", "save", tag], stdout=subprocess.PIPE)
            subprocess.run(["zstd", "-q", "-3", "-T0", "-c"], stdin=save.stdout, stdout=target, check=True)
            if save.wait():
                raise ZadsError(f"docker save {tag} failed", hint="see its message above")
        partial.rename(archive)
        result = Archive(f"zads/{name}", tag, str(archive), _file_sha256(archive))
        wholefile.write(record, json.dumps(result.__dict__, indent=1) + "\n")
        return result

    def debian(self, suite: str) -> str:
        """The tag of a Debian root file system.

        The environment variable ZADS_BASE_IMAGE_SUITE (in capitals, e.g. ZADS_BASE_IMAGE_BOOKWORM) names an image of
        the engine to use instead.
        """
        given = os.environ.get(f"ZADS_BASE_IMAGE_{suite.upper()}")
        if given:
            return given
        tag = f"zads/debian:{suite}"
        if self._exists(tag):
            return tag
        self.say(f"Debian {suite} by mmdebstrap")
        with tempfile.TemporaryDirectory(prefix="zads-debian-") as temporary:
            tarball = Path(temporary) / "root.tar"
            command = ["mmdebstrap", "--quiet", "--variant=minbase", suite, str(tarball)]
            result = subprocess.run(_in_own_group(command), capture_output=True, text=True, check=False)
            if result.returncode:
                raise ZadsError(
                    f"mmdebstrap {suite} failed: {_tail(result.stderr)}", hint="is a Debian mirror reachable?"
                )
            run = ["docker", "import", "--change", f"LABEL {LABEL}=image", str(tarball), tag]
            subprocess.run(run, check=True, capture_output=True)
        return tag

    def _image(
        self,
        name: str,
        inputs: Sequence[Path],
        arguments: dict[str, str],
        directory: Path,
        context: Path | None = None,
        fill: Callable[[], None] | None = None,
        extra: str = "",
    ) -> str:
        tag = f"zads/{name}:{_inputs_hash(inputs, extra, *(f'{k}={v}' for k, v in sorted(arguments.items())))}"
        if self._exists(tag):
            return tag
        self.say(f"image {tag}")
        if fill:
            fill()
        command = ["docker", "build", "--force-rm", "--label", f"{LABEL}=image", "--tag", tag]
        command += [word for key, value in arguments.items() for word in ("--build-arg", f"{key}={value}")]
        command += ["--file", str(directory / "Dockerfile"), str(context or directory)]
        # The classic builder: the other one is a plug-in that Debian's engine does not have.
        environment = {**os.environ, "DOCKER_BUILDKIT": "0"}
        result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if result.returncode:
            raise ZadsError(f"building {tag} failed: {_tail(result.stdout + result.stderr)}")
        return tag

    def _exists(self, tag: str) -> bool:
        try:
            self._engine.images.get(tag)
        except docker.errors.ImageNotFound:
            return False
        return True

    # --- what goes into them -------------------------------------------------------------------------------------

    @functools.cache  # noqa: B019  one builder lives as long as its process
    def kafka(self) -> Archive:
        """The Kafka distribution in the layout of Apache's tarball; the record is ``.zads/cache/kafka/current.json``.

        Errors: ZadsError naming the jar that is missing, unexpected or differs from ``images/kafka/jars.sha256``.
        """
        directory = self.root / "images" / "kafka"
        pins = directory / "jars.sha256"
        key = _inputs_hash([directory])
        version = _pom_version(directory / "pom.xml")
        record = self.cache / "kafka" / "current.json"
        archive = self.cache / "kafka" / f"kafka-{version}-{key}.tgz"
        if archive.exists() and record.exists():
            known = json.loads(record.read_text())
            if known["archive"] == str(archive):
                return Archive("kafka", version, str(archive), known["sha256"])
        self.say(f"Kafka {version}: jars by Maven")
        with tempfile.TemporaryDirectory(prefix="zads-kafka-") as temporary:
            top = Path(temporary) / f"kafka_2.13-{version}"
            self._jars(directory / "pom.xml", top / "libs")
            _check_jars(top / "libs", pins)
            shutil.copytree(directory / "bin", top / "bin")
            shutil.copytree(directory / "config", top / "config")
            for script in KAFKA_SCRIPTS:
                (top / "bin" / script).symlink_to("kafka-run-class.sh")
            archive.parent.mkdir(parents=True, exist_ok=True)
            partial = archive.with_suffix(".partial")
            _pack(top, partial)
            partial.rename(archive)
        result = Archive("kafka", version, str(archive), _file_sha256(archive))
        found = {"version": version, "archive": str(archive), "sha256": result.sha256}
        wholefile.write(record, json.dumps(found, indent=1) + "\n")
        return result

    def _jars(self, pom: Path, target: Path) -> None:
        command = ["mvn", "-B", "-q", "-f", str(pom), "dependency:copy-dependencies", f"-DoutputDirectory={target}"]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            raise ZadsError(
                f"Maven could not resolve the Kafka distribution: {_tail(result.stdout + result.stderr)}",
                hint="is a Maven repository reachable (~/.m2/settings.xml)? or set kafka_archive in the inventory",
            )

    def _wheels(self, lists: Sequence[Path]) -> Path:
        """A directory with exactly the pinned wheels of some lists for the images' Python."""
        house = self.cache / "wheels" / _inputs_hash(lists)
        if house.exists():
            return house
        names = ", ".join(str(path.relative_to(self.root)) for path in lists)
        self.say(f"wheels of {names}")
        partial = house.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        platforms = ["manylinux_2_36_x86_64", "manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64"]
        command = [str(self.root / ".venv/bin/python"), "-m", "pip", "download", "--quiet", "--require-hashes"]
        command += ["--no-deps", "--only-binary", ":all:", "--python-version", BASE_PYTHON]
        command += [word for platform in platforms for word in ("--platform", platform)]
        command += ["--dest", str(partial), *(word for path in lists for word in ("--requirement", str(path)))]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            raise ZadsError(f"fetching the wheels of {names} failed: {_tail(result.stderr)}")
        partial.rename(house)
        return house

    @functools.cache  # noqa: B019
    def _wheel(self) -> Path:
        """The project's own wheel, the same one for every image."""
        self.say("wheel of zads")
        target = self.cache / "wheel"
        shutil.rmtree(target, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix="zads-wheel-") as temporary:
            # A copy: building in place would leave files in the checkout.
            source = Path(temporary)
            for name in ("pyproject.toml", "README.md", "LICENSE"):
                shutil.copy(self.root / name, source / name)
            ignore = shutil.ignore_patterns("*.egg-info", "__pycache__")
            shutil.copytree(self.root / "src", source / "src", ignore=ignore)
            command = [str(self.root / ".venv/bin/python"), "-m", "build", "--wheel", "--no-isolation"]
            command += ["--outdir", str(target), str(source)]
            environment = {**os.environ, "SOURCE_DATE_EPOCH": "1541030400"}
            result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            if result.returncode:
                raise ZadsError(f"building the wheel failed: {_tail(result.stdout + result.stderr)}")
        return next(target.glob("zads-*.whl"))

    # --- the end -------------------------------------------------------------------------------------------------

    def remove(self) -> int:
        """Remove every image of ours from the engine (containers of ours must be gone); returns how many."""
        count = 0
        while images := self._engine.images.list(filters={"label": f"{LABEL}=image"}, all=True):
            removed = 0
            for image in images:
                try:
                    self._engine.images.remove(str(image.id), force=True)
                    removed += 1
                except docker.errors.APIError:
                    continue  # another of ours is made from it: its turn comes after that one
            if not removed:
                raise ZadsError(f"{len(images)} images of ours are in use", hint="stop what uses them: docker ps -a")
            count += removed
        return count


def own_packages(root: Path) -> dict[str, Path]:
    """Inventories that add packages to their filter workers' image, and each one's list."""
    return {path.parents[1].name: path for path in sorted(root.glob(f"inventories/*/filters/{packages.OWN}"))}


def _named(program: str, env: str) -> str:
    return f"{program}-{env}" if env else program


def _in_own_group(command: list[str]) -> list[str]:
    """Under `sg docker` the group is docker's, and mmdebstrap's user namespace refuses it: go back to the own one."""
    if os.geteuid() == 0:
        return command
    own = grp.getgrgid(_passwd_gid()).gr_name
    return ["sg", own, "-c", " ".join(f"'{word}'" for word in command)]


def _passwd_gid() -> int:
    return pwd.getpwuid(os.geteuid()).pw_gid


def _inputs_hash(inputs: Iterable[Path], *words: str) -> str:
    """HASH_DIGITS hex digits that follow from names, modes and contents of all files below inputs, and the words."""
    digest = hashlib.sha256()
    for given in inputs:
        for path in sorted([given] if given.is_file() else given.rglob("*")):
            if path.is_dir() or "__pycache__" in path.parts or any(p.endswith(".egg-info") for p in path.parts):
                continue
            content = path.read_bytes()
            head = f"{path.relative_to(given.parent)}\0{path.stat().st_mode & 0o111}\0{len(content)}\0"
            digest.update(head.encode() + content)
    for word in words:
        digest.update(f"\0{word}".encode())
    return digest.hexdigest()[:HASH_DIGITS]


def _check_jars(directory: Path, pins: Path) -> None:
    wanted = {name: digest for digest, name in (line.split() for line in pins.read_text().splitlines())}
    found = {path.name: _file_sha256(path) for path in directory.glob("*.jar")}
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            state = "is missing" if name not in found else "is not listed" if name not in wanted else "differs"
            raise ZadsError(f"jar {name} {state}", hint=f"{pins.name} lists what the distribution may hold")


def _pom_version(pom: Path) -> str:
    text = pom.read_text()
    return text.partition("<kafka.version>")[2].partition("<")[0]


def _pack(top: Path, target: Path) -> None:
    """A tarball that depends on the contents alone: sorted names, no times, no owners."""

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


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _tail(text: str, lines: int = 15) -> str:
    return "\n".join(text.strip().splitlines()[-lines:])
