"""Images in the local container engine: what one is made of, whether it exists, how it is built and removed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import docker
import docker.errors

from zads.build import step
from zads.build.inputs import inputs_hash
from zads.errors import ZadsError

#: Label of everything that this project creates in the container engine.
LABEL = "zads"


@dataclass(frozen=True)
class Image:
    """What an image is made of; each field but ``fill`` decides its tag.

    ``directory`` has the Dockerfile, ``arguments`` are the Dockerfile's. ``inputs`` are further files and directories,
    and ``digest`` stands for an input that is not in the repository. ``fill`` puts everything that the Dockerfile
    copies into an empty directory; without it the Dockerfile copies from its own.
    """

    name: str
    directory: Path
    arguments: Mapping[str, str]
    inputs: Sequence[Path] = ()
    digest: str = ""
    fill: Callable[[Path], None] | None = field(default=None, compare=False)

    @property
    def tag(self) -> str:
        """The image's name in the engine."""
        arguments = (f"{name}={value}" for name, value in sorted(self.arguments.items()))
        return f"zads/{self.name}:{inputs_hash([self.directory, *self.inputs], self.digest, *arguments)}"


class Engine:
    """The engine that the command ``docker`` speaks to."""

    def __init__(self, say: step.Say) -> None:
        self._say = say
        self._client = docker.from_env(timeout=600)

    def exists(self, tag: str) -> bool:
        """Whether the engine has an image of this tag."""
        try:
            self._client.images.get(tag)
        except docker.errors.ImageNotFound:
            return False
        return True

    def build(self, image: Image) -> str:
        """Build an image unless it exists; returns its tag. Raises ZadsError with the end of the build's output."""
        tag = image.tag
        if not self.exists(tag):
            self._say(f"image {tag}")
            with tempfile.TemporaryDirectory(prefix="zads-image-") as temporary:
                context = image.directory
                if image.fill:
                    context = Path(temporary)
                    image.fill(context)
                self._build(image, tag, context)
        return tag

    def _build(self, image: Image, tag: str, context: Path) -> None:
        command = ["docker", "build", "--force-rm", "--label", f"{LABEL}=image", "--tag", tag]
        command += [word for name, value in image.arguments.items() for word in ("--build-arg", f"{name}={value}")]
        command += ["--file", str(image.directory / "Dockerfile"), str(context)]
        # The classic builder: the other one is a plug-in that Debian's engine does not have.
        step.run(command, f"building {tag} failed", environment={**os.environ, "DOCKER_BUILDKIT": "0"})

    def remove_all(self) -> int:
        """Remove every image of this project; returns how many.

        Raises ZadsError if containers, which must be removed before, still use one.
        """
        count = 0
        while images := self._client.images.list(filters={"label": f"{LABEL}=image"}, all=True):
            removed = 0
            for image in images:
                try:
                    self._client.images.remove(str(image.id), force=True)
                    removed += 1
                except docker.errors.APIError:
                    continue  # another of these images is made from it, and is removed before it
            if not removed:
                raise ZadsError(f"{len(images)} images of ours are in use", hint="stop what uses them: docker ps -a")
            count += removed
        return count
