"""The package is built in layers: a module imports from its own and from those below, and never in a circle."""

from __future__ import annotations

import graphlib
from pathlib import Path

import pictures
import pytest


def test_no_module_imports_from_a_layer_above_it() -> None:
    assert pictures.upward() == []


def test_no_modules_import_each_other() -> None:
    known = pictures.modules()
    graph = {name: pictures.imports(path, known) - {name} for name, path in known.items()}
    list(graphlib.TopologicalSorter(graph).static_order())


def test_every_name_in_a_layer_is_a_module() -> None:
    known = pictures.modules()
    names = [name for _, names in pictures.LAYERS for name in names]
    assert len(names) == len(set(names))
    assert [name for name in names if f"zads.{name}" not in known] == []


def test_an_import_is_seen_wherever_it_stands(tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text(
        "import zads.kafka\ndef late():\n    from zads import packet\n    from zads.errors import ZadsError\n"
    )
    known = ["zads.kafka", "zads.packet", "zads.errors", "zads.names"]
    assert pictures.imports(file, known) == {"zads.kafka", "zads.packet", "zads.errors"}


def test_a_module_without_a_layer_is_named() -> None:
    with pytest.raises(LookupError, match=r"zads\.nowhere is in no layer"):
        pictures.layer("zads.nowhere")
