"""What a filter may import: Python's own modules, zads, and the packages that the filter workers' image has.

The image is made from a hash-pinned list (requirements/filters.txt, which this package contains). A deployment may add
a list of its own, `packages.txt` beside its filters. In a rehearsal, filters can import nothing else either.
"""

from __future__ import annotations

import functools
import os
import platform
import re
import sys
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from importlib import metadata, resources
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from zads import environment
from zads.errors import ZadsError

if TYPE_CHECKING:
    from collections.abc import Iterator

PYTHON = "3.13"  # of the workers' image
OWN = "packages.txt"  # beside the filters of a deployment that adds packages
#: Environment variable with the lists that a process of filters is held to in a rehearsal (see `only`).
VARIABLE = "ZADS_FILTER_PACKAGES"
_PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\]+)\s*(;?)")


def lists(directory: Path | None = None) -> list[Path]:
    """The lists of an image: the one that zads contains, and that of a directory of filters, if it has one."""
    own = [directory / OWN] if directory is not None and (directory / OWN).is_file() else []
    return [Path(str(resources.files("zads.filters").joinpath("packages.txt"))), *own]


def pinned(files: Iterable[Path]) -> dict[str, str]:
    """Versions by package, from lists as pip reads them. Raises ZadsError that names the file and the line."""
    found: dict[str, str] = {}
    for path in files:
        try:
            lines = path.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ZadsError(f"cannot read the list of packages {path}: {error}") from error
        for number, line in enumerate(lines, start=1):
            if not line.strip() or line.lstrip().startswith(("#", "--hash")):
                continue
            match = _PIN.match(line)
            if match is None:
                hint = "write NAME==VERSION --hash=sha256:..., as uv pip compile --generate-hashes does"
                raise ZadsError(f"{path}, line {number}: {line.strip()[:80]!r} pins no package", hint=hint)
            if not match[3]:  # a package with a marker is for other systems than the image's
                found[_normal(match[1])] = match[2]
    return found


def differences(wanted: dict[str, str]) -> list[str]:
    """How this computer differs from the image: its Python, and packages that are missing or of other versions."""
    lines = []
    if (version := ".".join(platform.python_version_tuple()[:2])) != PYTHON:
        lines.append(f"this computer's Python is {version}, the workers' is {PYTHON}")
    for name, version in sorted(wanted.items()):
        have = _distribution(name)
        if have is None:
            lines.append(f"the workers have {name} {version}, this computer has not: pip install {name}=={version}")
        elif have.version != version:
            lines.append(f"the workers have {name} {version}, this computer has {have.version}")
    return lines


@contextmanager
def only(files: Sequence[Path]) -> Iterator[None]:
    """A context in which newly started processes of filters can import only what these lists have."""
    with environment.variable(VARIABLE, os.pathsep.join(str(path.resolve()) for path in files)):
        yield


def prepare() -> None:
    """Prepare a process of filters for what they import. Raises ZadsError for a list that cannot be read."""
    settings = str(resources.files("zads.filters").joinpath("config"))
    # astropy wants these directories to exist; nothing is written to them.
    os.environ |= {"ASTROPY_CONFIG_DIR": settings, "ASTROPY_CACHE_DIR": settings}
    _workers()  # read now: behind the fence the process can no longer read it
    if given := os.environ.get(VARIABLE):
        _restrict(_modules(pinned(map(Path, given.split(os.pathsep)))))


@functools.cache
def _workers() -> dict[str, str]:
    """Versions by package of what every worker has."""
    return pinned(lists())


def missing(module: str) -> str:
    """Why a module cannot be imported here, for the author of a filter."""
    version = _workers().get(_normal(module))
    if version and _distribution(module) is None:
        return f"the workers have {module} {version}, this computer has not: pip install {module}=={version}"
    return f"the filter workers have no {module}"


def _restrict(names: frozenset[str]) -> None:
    """Hide all modules but Python's own and these from every finder."""
    own = sys.stdlib_module_names | {"zads"} | names
    sys.meta_path[:] = [_Hiding(finder, own) for finder in sys.meta_path]


class _Hiding:
    """A finder that finds only modules with some names."""

    def __init__(self, finder: Any, names: frozenset[str]) -> None:
        self._finder, self._names = finder, names

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The finder's spec, for names that may be found."""
        # The name of this module of Python's own contains the platform.
        if name.partition(".")[0] not in self._names and not name.startswith("_sysconfigdata_"):
            return None
        spec: ModuleSpec | None = self._finder.find_spec(name, path, target)
        return spec

    def __getattr__(self, name: str) -> Any:
        # importlib.metadata and importlib.invalidate_caches ask finders for more.
        return getattr(self._finder, name)


def _modules(wanted: Iterable[str]) -> frozenset[str]:
    """The top-level modules of packages that are installed here."""
    found: set[str] = set()
    for name in wanted:
        if (have := _distribution(name)) is not None:
            tops = {file.parts[0] for file in have.files or () if file.parts[0] != ".."}
            found |= {top.partition(".")[0] for top in tops if not top.endswith((".dist-info", ".egg-info"))}
    return frozenset(found)


def _distribution(name: str) -> metadata.Distribution | None:
    try:
        return metadata.distribution(name)
    except (metadata.PackageNotFoundError, ValueError):
        return None


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
