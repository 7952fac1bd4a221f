"""Executes a filter's file and the modules beside it, for this filter alone.

Modules beside two filters may have the same name: each filter gets its own, even where filters share a process.
"""

from __future__ import annotations

import ast
import builtins
import itertools
import sys
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zads.filters import packages

_numbers = itertools.count(1)


def execute(path: Path) -> types.ModuleType:
    """The module of a filter's file. Raises whatever its code raises, and SyntaxError."""
    return _Beside(path.parent).module(path)


def beside(path: Path) -> list[str]:
    """Names of the files beside a filter that it imports, directly or through another one. Executes none of them."""
    found: set[str] = set()
    pending = [path]
    while pending:
        for name in _imported(pending.pop()):
            file = _file(path.parent, name)
            if file is not None and file.name not in found and file != path:
                found.add(file.name)
                pending.append(file)
    return sorted(found)


def _imported(path: Path) -> set[str]:
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, ValueError, SyntaxError):
        return set()
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            names.add(node.module)
    return names


def _file(directory: Path, name: str) -> Path | None:
    """The file of a module in a directory, if there is one; Python's own modules cannot be replaced."""
    file = directory / f"{name}.py"
    return file if name.isidentifier() and name not in sys.stdlib_module_names and file.is_file() else None


class _Beside:
    """Imports for the code of one filter: first a file beside it, then what is installed."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._modules: dict[Path, types.ModuleType] = {}
        self._builtins = {**vars(builtins), "__import__": self._import}

    def module(self, path: Path) -> types.ModuleType:
        """The module of a file, which is executed the first time."""
        if path in self._modules:
            return self._modules[path]
        code = compile(path.read_bytes(), str(path), "exec")
        module = types.ModuleType(f"zads_filter_{path.stem}_{next(_numbers)}")
        module.__file__ = str(path)
        module.__dict__["__builtins__"] = self._builtins
        # In sys.modules, since dataclasses look there; before it is executed, for modules that import each other.
        self._modules[path] = sys.modules[module.__name__] = module
        try:
            exec(code, module.__dict__)  # noqa: S102  a filter is code; the worker does this in a sandboxed process
        except BaseException:
            del self._modules[path], sys.modules[module.__name__]
            raise
        return module

    def _import(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,  # noqa: A002  as __import__ has it
        locals: Mapping[str, Any] | None = None,  # noqa: A002
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> types.ModuleType:
        file = None if level else _file(self._directory, name)
        if file is not None:
            return self.module(file)
        try:
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        except ModuleNotFoundError as error:
            if level or error.name != name.partition(".")[0]:
                raise
            reason = f"No module named {error.name!r}: {packages.missing(error.name)}"
            raise ModuleNotFoundError(reason, name=error.name) from None
