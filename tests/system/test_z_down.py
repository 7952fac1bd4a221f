"""Taking the system down removes what is ours and touches nothing else. The last test: it ends the system."""

from __future__ import annotations

from collections.abc import Iterator

import docker
import pytest

from local_system import ROOT, System, run


@pytest.fixture
def neighbour(system: System) -> Iterator[tuple[str, str, str]]:
    """A container, a network and a volume of somebody else on the same engine."""
    engine = docker.from_env()
    image = next(image for image in engine.images.list() if image.tags)
    network = engine.networks.create("not-of-zads")
    volume = engine.volumes.create("not-of-zads")
    container = engine.containers.create(image.tags[0], name="not-of-zads", entrypoint="sleep", command=["60"])
    yield container.id, network.id, volume.name
    container.remove(force=True)
    network.remove()
    volume.remove()


def test_down_leaves_nothing_of_ours_and_everything_of_others(neighbour: tuple[str, str, str]) -> None:
    run("make", "down")
    engine = docker.from_env()
    filters = {"label": f"zads.checkout={ROOT}"}
    assert engine.containers.list(all=True, filters=filters) == []
    assert engine.networks.list(filters=filters) == []
    assert engine.volumes.list(filters=filters) == []
    container, network, volume = neighbour
    assert engine.containers.get(container).name == "not-of-zads"
    assert engine.networks.get(network).name == "not-of-zads"
    assert engine.volumes.get(volume).name == "not-of-zads"
