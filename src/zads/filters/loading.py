"""Finds a filter's file, executes it, and checks what the filter declares."""

from __future__ import annotations

import ast
import importlib.resources
import inspect
import re
import types
from pathlib import Path

from zads.errors import ZadsError
from zads.filters import modules
from zads.filters.interface import Filter
from zads.filters.wire import MAX_CAP, MAX_FIELDS, MAX_NAME
from zads.names import PROGRAMMES, PROGRAMMES_IN_WORDS

_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_PACKAGES = "docs/filters.md says which packages the workers have, and how to add one or a module of your own"
_EXAMPLE = 'fields = ("candidate.magpsf", "prv_candidates.jd")'


class FilterError(ZadsError):
    """A filter's file cannot be used; the message says where and why."""


def builtin_names() -> list[str]:
    """Names of the filters that come with ZADS, sorted."""
    files = importlib.resources.files("zads.filters.builtin").iterdir()
    return sorted(file.name.removesuffix(".py") for file in files if file.name.endswith(".py") and file.name[0] != "_")


def locate(path_or_name: str | Path) -> tuple[Path, str]:
    """The file of a filter (``FILE``, ``FILE:CLASS`` or a built-in's name), and the class that is named, or "".

    Raises FilterError if there is no such file.
    """
    text, colon, wanted = str(path_or_name).rpartition(":")
    if not colon:
        text, wanted = wanted, ""
    path = Path(text)
    if not path.is_file() and text in builtin_names():
        path = Path(str(importlib.resources.files("zads.filters.builtin").joinpath(f"{text}.py")))
    if not path.is_file():
        known = ", ".join(builtin_names())
        raise FilterError(f"there is no filter {text}", hint=f"give a Python file, FILE:CLASS, or one of {known}")
    return path, wanted


def load(path_or_name: str | Path) -> Filter:
    """The filter in a file (``FILE`` or ``FILE:CLASS``), or the built-in of that name.

    This executes the file's code in this process: run filters that you do not trust by `zads.filters.sandbox`.
    Raises FilterError that names the file and, where it is known, the line.
    """
    path, wanted = locate(path_or_name)
    try:
        module = modules.execute(path)
    except OSError as error:
        raise FilterError(f"cannot read {error.filename or path}: {error.strerror or error}") from error
    except SyntaxError as error:
        where = f"{error.filename or path}, line {error.lineno or 1}"
        raise FilterError(f"{where}: {error.msg}", hint="the file is not valid Python") from error
    except ImportError as error:
        raise FilterError(f"{path}, line {_line(error, path)}: {error}", hint=_PACKAGES) from error
    except Exception as error:
        where = f"{path}, line {_line(error, path)}"
        raise FilterError(f"{where}: {type(error).__name__} while it was loaded: {error}") from error
    return _instance(_choose(module, path, wanted), path)


def _line(error: BaseException, path: Path) -> int:
    line, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _choose(module: types.ModuleType, path: Path, wanted: str) -> type[Filter]:
    classes = {
        name: value
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, Filter) and value.__module__ == module.__name__
    }
    if wanted:
        if wanted not in classes:
            names = ", ".join(sorted(classes)) or "none"
            raise FilterError(f"{path} has no filter {wanted}", hint=f"its filters: {names}")
        return classes[wanted]
    # A class that another class of the file extends is a base class, not a filter.
    leaves = [kind for kind in classes.values() if not any(kind in other.__mro__[1:] for other in classes.values())]
    if not leaves:
        raise FilterError(f"{path} has no filter", hint="write a class that extends zads.filters.Filter")
    if len(leaves) > 1:
        several = sorted(kind.__name__ for kind in leaves)
        hint = f"say which: {path}:{several[0]}"
        raise FilterError(f"{path} has {len(several)} filters ({', '.join(several)})", hint=hint)
    return leaves[0]


def _instance(kind: type[Filter], path: Path) -> Filter:
    where = f"{path}: the filter {kind.__name__}"
    if not inspect.cleandoc(kind.__doc__ or ""):
        raise FilterError(f"{where} has no docstring", hint="say in a line what it passes: subscribers read it")
    _check_declarations(kind, where)
    own = [name for name in ("accept", "accept_batch") if getattr(kind, name) is not getattr(Filter, name)]
    if len(own) != 1:
        found = "neither accept nor accept_batch" if not own else "both accept and accept_batch"
        raise FilterError(
            f"{where} has {found}", hint="it needs one: accept(self, alert) or accept_batch(self, alerts)"
        )
    try:
        return kind()
    except Exception as error:
        raise FilterError(f"{where}, line {_line(error, path)}: {type(error).__name__}: {error}") from error


def _check_declarations(kind: type[Filter], where: str) -> None:
    declared: object = kind.fields
    if not isinstance(declared, tuple | list) or not declared:
        raise FilterError(f"{where} declares no fields as a tuple", hint=f"for example {_EXAMPLE}")
    if len(kind.fields) > MAX_FIELDS or any(len(str(field)) > MAX_NAME for field in kind.fields):
        hint = f"at most {MAX_FIELDS} of at most {MAX_NAME} characters"
        raise FilterError(f"{where} declares too many fields, or too long ones", hint=hint)
    for field in kind.fields:
        if not isinstance(field, str) or not _DOTTED.fullmatch(field):
            why = f"{where} declares the field {field!r}, which is not a dotted path"
            raise FilterError(why, hint=f"as in {_EXAMPLE}")
    if not set(kind.programmes) or not set(kind.programmes) <= set(PROGRAMMES):
        raise FilterError(f"{where} declares programmes {set(kind.programmes)}", hint=PROGRAMMES_IN_WORDS)
    if isinstance(kind.cap, bool) or not isinstance(kind.cap, int) or not 1 <= kind.cap <= MAX_CAP:
        hint = f"a whole number of alerts a visit, from 1 to {MAX_CAP}"
        raise FilterError(f"{where} declares the cap {kind.cap!r:.40}", hint=hint)
    if not isinstance(kind.time_limit, int | float) or not 0 < kind.time_limit <= 10:
        raise FilterError(f"{where} declares the time limit {kind.time_limit!r}", hint="seconds, above 0, at most 10")


def summary(path: Path) -> str:
    """The first line of a filter's docstring, read without executing the file; "" if it has none."""
    try:
        tree = ast.parse(path.read_text("utf-8"))
    except (OSError, ValueError, SyntaxError):
        return ""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
            return text.splitlines()[0]
    return ""
