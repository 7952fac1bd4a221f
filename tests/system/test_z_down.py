"""`make down` removes what is ours and nothing else. It is the last test, as it ends the system."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

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


def test_the_lab_of_a_checkout_that_is_gone_is_taken_down_by_another(system: System, tmp_path: Path) -> None:
    engine, gone = docker.from_env(), tmp_path / "gone"
    labels = {"zads": "lab", "zads.env": "gone", "zads.checkout": str(gone)}
    engine.networks.create("zads-gone", labels=labels)
    down = (".venv/bin/zads", "lab", "down", "--of", str(gone))
    try:
        gone.mkdir()
        refused = run(*down, check=False)
        assert refused.returncode == 1
        assert "is there" in refused.stdout
        gone.rmdir()
        assert "removed 1 " in run(*down).stdout
        assert engine.networks.list(names=["^zads-gone$"]) == []
    finally:
        for left in engine.networks.list(names=["^zads-gone$"]):
            left.remove()


def test_down_leaves_nothing_of_ours_and_everything_of_others(neighbour: tuple[str, str, str]) -> None:
    engine = docker.from_env()

    def ours() -> list[int]:
        """How many containers, networks and volumes of this checkout there are."""
        filters = {"label": f"zads.checkout={ROOT}"}
        kinds = (engine.containers.list(all=True, filters=filters), engine.networks.list(filters=filters))
        return [len(found) for found in (*kinds, engine.volumes.list(filters=filters))]

    assert 0 not in ours()[:2], "the system is up"
    run("make", "down")
    assert ours() == [0, 0, 0]
    container, network, volume = neighbour
    assert engine.containers.get(container).name == "not-of-zads"
    assert engine.networks.get(network).name == "not-of-zads"
    assert engine.volumes.get(volume).name == "not-of-zads"
