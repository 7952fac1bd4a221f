"""The images of this project: hosts of a lab, the base of every program, and the programs that inventories deploy."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Sequence
from pathlib import Path

from zads.build import archive, debian, distribution, wheels
from zads.build.archive import Archive
from zads.build.engine import Engine, Image
from zads.build.step import Say
from zads.errors import ZadsError
from zads.filters import packages

_MONITORING = "nginx prometheus prometheus-alertmanager prometheus-node-exporter stunnel4 systemd-journal-remote"
#: Packages of a host of each Debian release: the engine, the Java that the role `java` installs there, and monitoring.
HOST_PACKAGES = {
    "bookworm": f"docker.io openjdk-17-jre-headless {_MONITORING}",
    "trixie": f"docker.io docker-cli openjdk-21-jre-headless {_MONITORING}",
}
#: The release of a host that names none, and of the programs' images; its Python is `packages.PYTHON`.
SUITE = "trixie"
#: Images that are deployed to hosts, and the directory below ``images`` that each is made of.
DEPLOYED = {"producer": "zads", "mirrormaker": "mirrormaker", "filter-worker": "zads", "board": "zads"}


class Builder:
    """Builds what an inventory needs into the local engine and ``.zads/cache``.

    ``root`` is the repository; ``say`` gets one line for each step that takes time. All methods raise ZadsError with
    the end of a failed step's output.
    """

    def __init__(self, root: Path, say: Say = print) -> None:
        self.root, self.say = root, say
        self._engine = Engine(say)

    def host(self, suite: str = SUITE) -> str:
        """The tag of a machine of one Debian release that boots systemd. Raises ZadsError for an unknown release."""
        if suite not in HOST_PACKAGES:
            raise ZadsError(f"no host image for Debian {suite!r}", hint=f"lab_image is one of {sorted(HOST_PACKAGES)}")
        arguments = {"ROOT": self._debian(suite), "PACKAGES": HOST_PACKAGES[suite]}
        return self._engine.build(Image(f"host-{suite}", self._sources("host"), arguments))

    def program(self, name: str, env: str = "") -> str:
        """The tag of a deployed image: producer, mirrormaker, filter-worker or board.

        With `env` it is the filter-worker of an inventory that adds packages.
        """
        return self._mirror() if name == "mirrormaker" else self._zads(name, env)

    def export(self, program: str, env: str = "") -> Archive:
        """A deployed image as an archive beside its record ``.zads/cache/images/NAME.json``.

        NAME is the program's, with ``-ENV`` for the filter-worker of an inventory that adds packages.
        """
        tag = self.program(program, env)
        return archive.save(image_name(program, env), tag, self.root / ".zads" / "cache" / "images", self.say)

    def kafka(self, version: str = "") -> Archive:
        """The Kafka distribution: of a new site, or of another pinned version."""
        return distribution.kafka(self.root, self.say, version)

    def remove(self) -> int:
        """Remove every image of this project from the engine; returns how many."""
        return self._engine.remove_all()

    def _debian(self, suite: str) -> str:
        return debian.root(self._engine, suite, self.say)

    def _sources(self, image: str) -> Path:
        return self.root / "images" / image

    def _base(self, name: str, lists: Sequence[Path]) -> str:
        """The image that a program's starts from: Debian with the packages of some requirement lists."""

        def fill(context: Path) -> None:
            (context / "lists").mkdir()
            for number, path in enumerate(lists):
                shutil.copy(path, context / "lists" / f"{number}.txt")
            shutil.copytree(wheels.pinned(self.root, lists, self.say), context / "wheels")

        arguments = {"ROOT": self._debian(SUITE)}
        return self._engine.build(Image(name, self._sources("base"), arguments, inputs=lists, fill=fill))

    def _runtime(self) -> str:
        return self._base("base", [self.root / "requirements" / "runtime.txt"])

    def _programs_runtime(self) -> str:
        return self._base("base-programs", [self.root / "requirements" / "programs.txt"])

    def _board_runtime(self) -> str:
        return self._base("base-board", [self.root / "requirements" / "board.txt"])

    def _filters_runtime(self, env: str) -> str:
        """The base of a filter worker: with the packages of every one, and those that an inventory adds."""
        added = [own_packages(self.root)[env]] if env else []
        return self._base("base-filters", [self.root / "requirements" / "filters.txt", *added])

    def _zads(self, name: str, env: str) -> str:
        """An image that has the project's own wheel."""
        directory = self._sources(DEPLOYED[name])

        def fill(context: Path) -> None:
            shutil.copytree(directory, context, dirs_exist_ok=True)
            (context / "wheel").mkdir()
            shutil.copy(self._wheel, context / "wheel")

        if name == "filter-worker":
            base = self._filters_runtime(env)
        else:
            base = self._board_runtime() if name == "board" else self._programs_runtime()
        inputs = [self.root / "src", self.root / "schemas", self.root / "pyproject.toml"]
        return self._engine.build(Image(image_name(name, env), directory, {"BASE": base}, inputs=inputs, fill=fill))

    def _mirror(self) -> str:
        """The image that has the Kafka distribution."""
        directory, kafka = self._sources(DEPLOYED["mirrormaker"]), self.kafka()

        def fill(context: Path) -> None:
            shutil.copytree(directory, context, dirs_exist_ok=True)
            shutil.unpack_archive(kafka.archive, context)
            next(context.glob("kafka_*")).rename(context / "kafka")

        image = Image("mirrormaker", directory, {"BASE": self._runtime()}, digest=kafka.sha256, fill=fill)
        return self._engine.build(image)

    @functools.cached_property
    def _wheel(self) -> Path:
        """The project's own wheel, the same one for every image."""
        return wheels.own(self.root, self.say)


def own_packages(root: Path) -> dict[str, Path]:
    """Inventories that add packages to their filter workers' image, and each one's list."""
    return {path.parents[1].name: path for path in sorted(root.glob(f"inventories/*/filters/{packages.OWN}"))}


def image_name(program: str, env: str) -> str:
    """The name of a program's image, or of one that is made for an inventory."""
    return f"{program}-{env}" if env else program
