"""An image's name follows from its inputs, and every input is pinned."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from zads.build import debian, distribution, engine, images, wheels
from zads.build.archive import Archive
from zads.build.engine import Image
from zads.build.inputs import inputs_hash
from zads.errors import ZadsError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "image").mkdir()
    (tmp_path / "image" / "Dockerfile").write_text("FROM scratch\n")
    return tmp_path / "image"


def test_the_same_inputs_give_the_same_tag(tree: Path) -> None:
    assert inputs_hash([tree], "a") == inputs_hash([tree], "a")


def test_any_change_of_content_name_mode_or_argument_gives_another_tag(tree: Path) -> None:
    tags = {inputs_hash([tree], "a"), inputs_hash([tree], "b")}
    (tree / "Dockerfile").write_text("FROM nothing\n")
    tags.add(inputs_hash([tree], "a"))
    (tree / "Dockerfile").chmod(0o755)
    tags.add(inputs_hash([tree], "a"))
    (tree / "Dockerfile").rename(tree / "Containerfile")
    tags.add(inputs_hash([tree], "a"))
    assert len(tags) == 5


def test_what_python_leaves_behind_does_not_count(tree: Path) -> None:
    before = inputs_hash([tree])
    (tree / "__pycache__").mkdir()
    (tree / "__pycache__" / "x.pyc").write_bytes(b"x")
    assert inputs_hash([tree]) == before


@pytest.mark.parametrize("spoil", ["missing", "unexpected", "altered"])
def test_a_jar_that_is_not_the_pinned_one_is_refused(tmp_path: Path, spoil: str) -> None:
    (tmp_path / "a.jar").write_bytes(b"a")
    pins = tmp_path / "jars.sha256"
    pins.write_text(subprocess.run(["sha256sum", "a.jar"], cwd=tmp_path, capture_output=True, text=True).stdout)
    distribution.check_jars(tmp_path, pins)
    if spoil == "missing":
        (tmp_path / "a.jar").unlink()
    elif spoil == "unexpected":
        (tmp_path / "b.jar").write_bytes(b"b")
    else:
        (tmp_path / "a.jar").write_bytes(b"c")
    with pytest.raises(ZadsError, match=r"jar [ab]\.jar"):
        distribution.check_jars(tmp_path, pins)


def test_a_version_whose_jars_are_not_pinned_is_refused() -> None:
    with pytest.raises(ZadsError, match=r"no jars of Kafka 2\.0\.0 are pinned") as refused:
        distribution.kafka(ROOT, print, "2.0.0")
    assert "3.9.1" in str(refused.value.hint)


def test_every_version_that_an_inventory_names_is_built(tmp_path: Path) -> None:
    (tmp_path / "images/kafka/jars").mkdir(parents=True)
    for version in ("3.8.1", "3.9.1", "3.9.2"):
        (tmp_path / f"images/kafka/jars/{version}.sha256").touch()
    for name, text in {
        "a/group_vars/public.yml": 'kafka_version: "3.8.1"  # until the season ends',
        "b/hosts.yml": "all: {hosts: {one: {node_id: 1, kafka_version: 3.9.2}}}",
        "c/group_vars/all/main.yml": "kafka_version: 3.7.0\nkafka_archive: /srv/kafka.tgz",  # its own archive
    }.items():
        path = tmp_path / "inventories" / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
    assert distribution.wanted(tmp_path) == ["3.8.1", "3.9.2"]


def test_a_new_site_has_a_version_whose_jars_are_pinned() -> None:
    pom = (ROOT / "images/kafka/pom.xml").read_text()
    assert distribution._pom_version(ROOT / "images/kafka/pom.xml") in distribution.pinned(ROOT)
    assert f"<version>{distribution._pom_version(ROOT / 'images/kafka/pom.xml')}</version>\n  <packaging>" in pom


def test_an_archive_depends_on_its_contents_alone(tmp_path: Path) -> None:
    top = tmp_path / "kafka"
    (top / "bin").mkdir(parents=True)
    (top / "bin" / "run").write_text("x")
    distribution.pack(top, tmp_path / "one.tgz")
    (top / "bin" / "run").touch()
    distribution.pack(top, tmp_path / "two.tgz")
    assert (tmp_path / "one.tgz").read_bytes() == (tmp_path / "two.tgz").read_bytes()


def test_an_inventory_that_adds_packages_has_a_worker_image_of_its_own(tmp_path: Path) -> None:
    for env in ("local", "prod"):
        (tmp_path / "inventories" / env / "filters").mkdir(parents=True)
    own = tmp_path / "inventories/prod/filters/packages.txt"
    own.write_text("sortedcontainers==2.4.0 --hash=sha256:00\n")
    (tmp_path / "inventories/local/filters/near.py").touch()
    assert images.own_packages(tmp_path) == {"prod": own}
    assert (images.image_name("filter-worker", ""), images.image_name("filter-worker", "prod")) == (
        "filter-worker",
        "filter-worker-prod",
    )


@pytest.fixture
def builder(monkeypatch: pytest.MonkeyPatch) -> tuple[images.Builder, list[Image]]:
    """A builder without an engine, and the images that it is asked for."""
    asked: list[Image] = []

    def build(self: engine.Engine, image: Image) -> str:
        asked.append(image)
        return image.tag

    monkeypatch.setattr(engine.docker, "from_env", lambda **_: None)
    monkeypatch.setattr(engine.Engine, "build", build)
    monkeypatch.setattr(debian, "root", lambda engine, suite, say: f"debian:{suite}")
    monkeypatch.setattr(distribution, "kafka", lambda root, say, version: Archive("kafka", "3", "kafka.tgz", "0" * 64))
    return images.Builder(ROOT, lambda line: None), asked


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("producer", {"images/zads", "src", "schemas", "pyproject.toml"}),
        ("filter-worker", {"images/zads", "src", "schemas", "pyproject.toml"}),
        ("board", {"images/zads", "src", "schemas", "pyproject.toml"}),
        ("mirrormaker", {"images/mirrormaker"}),
    ],
)
def test_a_programs_image_follows_from_its_sources_and_its_base(
    name: str, inputs: set[str], builder: tuple[images.Builder, list[Image]]
) -> None:
    ours, asked = builder
    tag = ours.program(name)
    base, program = asked
    assert program.tag == tag
    assert {str(path.relative_to(ROOT)) for path in [program.directory, *program.inputs]} == inputs
    assert program.arguments == {"BASE": base.tag}
    assert (program.digest != "") is (name == "mirrormaker")
    lists = {"board": "board", "producer": "programs", "filter-worker": "filters", "mirrormaker": "runtime"}
    assert [str(path.relative_to(ROOT)) for path in base.inputs] == [f"requirements/{lists[name]}.txt"]
    assert base.arguments == {"ROOT": "debian:trixie"}


def test_every_field_of_an_image_changes_its_tag(tree: Path) -> None:
    (tree.parent / "list.txt").write_text("numpy")
    tags = {
        Image("a", tree, {}).tag,
        Image("b", tree, {}).tag,
        Image("a", tree, {"ROOT": "x"}).tag,
        Image("a", tree, {}, inputs=[tree.parent / "list.txt"]).tag,
        Image("a", tree, {}, digest="0").tag,
    }
    assert len(tags) == 5


def test_wheels_that_are_there_are_not_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "list.txt").write_text("numpy")
    monkeypatch.setattr(wheels.step, "run", lambda command, failure: Path(command[-3]).mkdir(parents=True))
    said: list[str] = []
    for _ in range(2):
        assert wheels.pinned(tmp_path, [tmp_path / "list.txt"], said.append).is_dir()
    assert said == ["wheels of list.txt"]


def test_another_python_has_wheels_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "list.txt").write_text("numpy")
    monkeypatch.setattr(wheels.step, "run", lambda command, failure: Path(command[-3]).mkdir(parents=True))
    before = wheels.pinned(tmp_path, [tmp_path / "list.txt"], str)
    monkeypatch.setattr(wheels.packages, "PYTHON", "3.99")
    assert wheels.pinned(tmp_path, [tmp_path / "list.txt"], str) != before
