"""What a filter is: a class or a decorated function in an ordinary Python file, and the alert that it sees.

A filter declares the fields that it reads, and gets an alert of just these: what nobody declares is never decoded.
"""

from __future__ import annotations

import ast
import importlib.resources
import inspect
import re
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import numpy as np

from zads.errors import ZadsError
from zads.filters import modules
from zads.filters.wire import MAX_CAP, MAX_FIELDS, MAX_NAME
from zads.topics import PROGRAMMES

DEFAULT_CAP = 20  # alerts a visit: what the survey's own filter service allows
EAGER = ("schemavsn", "publisher", "objectId", "candid", "candidate")  # all else is decoded when it is looked at
DEFAULT_TIME_LIMIT = 1.0  # seconds of one call
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_PACKAGES = "docs/filters.md says which packages the workers have, and how to add one or a module of your own"
_HOW = 'fields = ("candidate.magpsf", "prv_candidates.jd")'


class FilterError(ZadsError):
    """A filter's file cannot be used; the message says where and why."""


class UndeclaredField(ZadsError):
    """A filter reads a field that it has not declared; `field` is its dotted path."""

    def __init__(self, field: str) -> None:
        super().__init__(f"the filter reads {field}, which it does not declare", hint=f'add "{field}" to its fields')
        self.field = field


class MissingField(KeyError):
    """A declared field that this packet's schema version does not have."""


def _read_only(*_: object, **__: object) -> NoReturn:
    raise TypeError("an alert is read-only: every filter sees the same one")


class Record(dict[str, Any]):
    """A read-only record of an alert that holds the declared fields alone.

    A lookup costs what a dict's costs. Reading an undeclared field raises UndeclaredField; a declared one that the
    packet's schema version lacks raises MissingField, or is the default of ``get``.
    """

    __slots__ = ()
    _path: ClassVar[str] = ""
    _declared: ClassVar[frozenset[str] | None] = None  # None: the whole record is declared

    def __missing__(self, key: str) -> NoReturn:
        raise self._absent(key)

    def __contains__(self, key: object) -> bool:
        if dict.__contains__(self, key):
            return True
        self._check(key)
        return False

    def get(self, key: str, default: Any = None) -> Any:
        """The field, or `default` if the packet's schema has none. Raises UndeclaredField."""
        if dict.__contains__(self, key):
            return self[key]
        self._check(key)
        return default

    def _check(self, key: object) -> None:
        if self._declared is not None and key not in self._declared:
            raise UndeclaredField(f"{self._path}{key}")

    def _absent(self, key: object) -> Exception:
        self._check(key)
        return MissingField(f"this packet's schema has no field {self._path}{key}: read it with .get()")

    __setitem__ = __delitem__ = __ior__ = _read_only
    clear = pop = popitem = setdefault = update = _read_only


Fetch = Callable[[str], Any]


class Alert(Record):
    """One alert as a filter sees it: a read-only mapping of its declared fields.

    Light curve and cutouts are decoded when they are first looked at.
    """

    __slots__ = ("_fetch",)
    _fetch: Fetch | None
    _late: ClassVar[Mapping[str, Callable[[Any], Any]]] = {}

    def __missing__(self, key: str) -> Any:
        if key not in self._late or self._fetch is None:
            raise self._absent(key)
        value = self._late[key](self._fetch(key))
        dict.__setitem__(self, key, value)
        return value

    def __contains__(self, key: object) -> bool:
        return (key in self._late and self._fetch is not None) or super().__contains__(key)

    def __iter__(self) -> Iterator[str]:
        self._complete()
        return dict.__iter__(self)

    def __len__(self) -> int:
        self._complete()
        return dict.__len__(self)

    def get(self, key: str, default: Any = None) -> Any:
        """The field, or `default` if the packet's schema has none. Raises UndeclaredField."""
        try:
            return self[key]
        except MissingField:
            return default

    def keys(self) -> Any:
        """The declared fields that there are."""
        self._complete()
        return dict.keys(self)

    def values(self) -> Any:
        """Their values."""
        self._complete()
        return dict.values(self)

    def items(self) -> Any:
        """Both."""
        self._complete()
        return dict.items(self)

    def _complete(self) -> None:
        for name in self._late:
            self.get(name)


class View:
    """Makes alerts of a set of declared fields out of decoded packets; made once for each set of fields.

    `late` names top-level fields that are fetched when they are first looked at. `read`, if given, gets the dotted path
    of every field that is looked up (which is slower).
    """

    def __init__(
        self, fields: Iterable[str], late: Iterable[str] = (), read: Callable[[str], None] | None = None
    ) -> None:
        tree = _tree(fields)
        makers = {name: _maker(tree[name], f"{name}.", Record, read) for name in late if name in tree}
        self._make = _maker(tree, "", Alert, read, makers)

    def __call__(self, decoded: Mapping[str, Any], fetch: Fetch | None = None) -> Alert:
        """The alert of a decoded packet (which may hold more fields); `fetch` decodes a late field.

        It raises MissingField for a field that the packet's schema does not have.
        """
        alert: Alert = self._make(decoded)
        alert._fetch = fetch
        return alert


_Tree = dict[str, Any]  # a field's name: the tree below it, empty for all of it


def _tree(fields: Iterable[str]) -> _Tree:
    tree: _Tree = {}
    for field in union([fields]):
        node = tree
        for part in field.split("."):
            node = node.setdefault(part, {})
    return tree


def union(sets: Iterable[Iterable[str]]) -> tuple[str, ...]:
    """The fewest dotted fields that cover all of some sets: with ``a``, there is no need of ``a.b``."""
    every = {field for fields in sets for field in fields}
    return tuple(sorted(field for field in every if not any(parent in every for parent in _parents(field))))


def _parents(field: str) -> list[str]:
    parts = field.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts))]


def _maker(
    tree: _Tree,
    path: str,
    base: type[Record],
    read: Callable[[str], None] | None,
    late: Mapping[str, Callable[[Any], Any]] | None = None,
) -> Callable[[Any], Any]:
    """A function that makes the read-only counterpart of a decoded value, holding what `tree` says."""
    if not tree:
        return _freeze if read is None else _tracing_freeze(path, read)
    space: dict[str, Any] = {"__slots__": (), "_path": path, "_declared": frozenset(tree)}
    if read is not None:
        space |= _tracing(base, path, read)
    if late:
        space["_late"] = late
    kind = type(base.__name__, (base,), space)
    names = tuple(name for name in tree if name not in (late or ()))
    # Whatever lies deeper than an alert's own records and arrays is a scalar, which needs no maker.
    below = {name: _maker(node, f"{path}{name}.", Record, read) for name, node in tree.items() if node or not path}
    build = _builder(kind, names, below)
    older: dict[tuple[str, ...], Callable[[Any], Any]] = {}  # of schemas that lack some of the fields

    def make(value: Any) -> Any:
        if value.__class__ is not dict:
            if isinstance(value, list | tuple):
                return tuple(map(make, value))
            if value is None:
                return None
        try:
            return build(value)
        except KeyError:
            there = tuple(name for name in names if name in value)
            if there not in older:
                older[there] = _builder(kind, there, below)
            return older[there](value)

    return make


def _builder(kind: type[Record], names: Sequence[str], below: Mapping[str, Callable[[Any], Any]]) -> Callable[..., Any]:
    """A function that makes a record of some fields of a decoded one.

    It is generated, as those of a named tuple are: every filter of a group has its own set of fields, so that this is
    done for each filter and alert, and a loop over the names would take several times as long.
    """
    space: dict[str, Any] = {"kind": kind, "containers": _CONTAINERS}
    terms = []
    for number, name in enumerate(names):
        if name in below:
            space[f"make{number}"] = below[name]
            term = f"make{number}(found) if (found := value[{name!r}]).__class__ in containers else found"
        else:
            term = f"value[{name!r}]"
        terms.append(f"{name!r}: {term}")
    built: Callable[..., Any] = eval(f"lambda value: kind({{{', '.join(terms)}}})", space)  # noqa: S307  quoted names
    return built


_CONTAINERS = (dict, list, tuple)


def _freeze(value: Any) -> Any:
    if isinstance(value, dict):
        return Record(
            {name: _freeze(inner) if inner.__class__ in _CONTAINERS else inner for name, inner in value.items()}
        )
    if isinstance(value, list):
        return tuple(map(_freeze, value))
    return value


def _tracing(base: type[Record], path: str, read: Callable[[str], None]) -> dict[str, Any]:
    """Methods that tell which fields are looked at; looking at all of a record is told as ``PATH.*``."""

    def getitem(self: Record, key: str) -> Any:
        read(f"{path}{key}")
        return dict.__getitem__(self, key) if dict.__contains__(self, key) else self.__missing__(key)

    def contains(self: Record, key: object) -> bool:
        read(f"{path}{key}")
        return base.__contains__(self, key)

    def whole(name: str) -> Callable[..., Any]:
        def method(self: Record, *arguments: Any) -> Any:
            read(f"{path}*")
            return getattr(base, name)(self, *arguments)

        return method

    names = ("__iter__", "__or__", "__eq__", "copy", "items", "keys", "values")
    return {"__getitem__": getitem, "__contains__": contains, "__hash__": None, **{name: whole(name) for name in names}}


def _tracing_freeze(path: str, read: Callable[[str], None]) -> Callable[[Any], Any]:
    kind = type("Record", (Record,), {"__slots__": (), "_path": path, **_tracing(Record, path, read)})

    def freeze(value: Any) -> Any:
        if isinstance(value, dict):
            return kind({name: freeze(inner) for name, inner in value.items()})
        return tuple(map(freeze, value)) if isinstance(value, list) else value

    return freeze


class Columns(Mapping[str, Any]):
    """The alerts of a batch as read-only NumPy columns: ``alerts["candidate"]["magpsf"]`` has one value an alert.

    Numbers are float64 with NaN for null, or int64/bool where no value is null; texts and arrays (the light curve: a
    tuple of records an alert) are columns of objects. The same spelling as an alert's, the same errors.
    """

    def __init__(self, alerts: Sequence[Mapping[str, Any]], fields: Iterable[str], *, _path: str = "") -> None:
        self._alerts = alerts
        self._fields = frozenset(fields)
        self._path = _path
        self._made: dict[str, Any] = {}

    def __len__(self) -> int:
        """How many alerts there are: the length of every column."""
        return len(self._alerts)

    def __iter__(self) -> Any:
        return iter(sorted({field.partition(".")[0] for field in self._fields}))

    def __getitem__(self, name: str) -> Any:
        """The column of a field, or the columns of a record. Raises UndeclaredField."""
        if name not in self._made:
            self._made[name] = self._column(name)
        return self._made[name]

    def _column(self, name: str) -> Any:
        below = {field.removeprefix(f"{name}.") for field in self._fields if field.startswith(f"{name}.")}
        whole = not self._fields or name in self._fields
        if not whole and not below:
            raise UndeclaredField(f"{self._path}{name}")
        values = [None if alert is None else alert.get(name) for alert in self._alerts]
        if any(isinstance(value, dict) for value in values):
            return Columns(values, () if whole else below, _path=f"{self._path}{name}.")  # type: ignore[arg-type]
        return _array(values)


def _array(values: list[Any]) -> np.ndarray[Any, np.dtype[Any]]:
    kinds = {value.__class__ for value in values} - {type(None)}
    if kinds <= {bool} and None not in values and kinds:
        column: np.ndarray[Any, np.dtype[Any]] = np.array(values, dtype=bool)
    elif kinds == {int} and None not in values:
        column = np.array(values, dtype=np.int64)
    elif kinds <= {int, float, bool}:
        column = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    else:
        column = np.empty(len(values), dtype=object)
        column[:] = values
    column.flags.writeable = False
    return column


class Filter:
    """A filter; give it a docstring, `fields`, and either `accept` or `accept_batch`.

    owner: user who reads what it passes. programmes: whose alerts it sees. fields: dotted paths, all that it may read;
    the name of a record or an array alone means all of it. cap: at most so many alerts a visit (one exposure).
    time_limit: seconds that one call may take before it is stopped and counts as failed.
    """

    owner: ClassVar[str] = ""
    programmes: ClassVar[frozenset[int] | set[int]] = frozenset({1})
    fields: ClassVar[tuple[str, ...]] = ()
    cap: ClassVar[int] = DEFAULT_CAP
    time_limit: ClassVar[float] = DEFAULT_TIME_LIMIT

    def accept(self, alert: Alert) -> bool | dict[str, Any]:  # noqa: ARG002
        """Whether the alert passes; a dict (even an empty one) passes it with these annotations."""
        raise TypeError(f"{type(self).__name__} has neither accept nor accept_batch")

    def accept_batch(self, alerts: Columns) -> Any:  # noqa: ARG002
        """A mask (one bool an alert), or a pair of the mask and a dict of columns of annotations."""
        raise TypeError(f"{type(self).__name__} has neither accept nor accept_batch")

    @classmethod
    def in_batches(cls) -> bool:
        """Whether the filter works on columns."""
        return cls.accept_batch is not Filter.accept_batch


def filter(  # noqa: A001  the word that people expect; `from zads.filters import filter` shadows on purpose
    *,
    fields: Sequence[str],
    owner: str = "",
    cap: int = DEFAULT_CAP,
    programmes: Iterable[int] = (1,),
    time_limit: float = DEFAULT_TIME_LIMIT,
    batches: bool = False,
) -> Callable[[Callable[[Any], Any]], type[Filter]]:
    """Make a filter of a plain function: `accept` of one alert, or with `batches` `accept_batch` of their columns.

    The other arguments are those of `Filter`. The function's docstring is the filter's.
    """

    def decorate(function: Callable[[Any], Any]) -> type[Filter]:
        space = {
            "__doc__": function.__doc__,
            "__module__": function.__module__,
            "accept_batch" if batches else "accept": staticmethod(function),
            "fields": fields,
            "owner": owner,
            "cap": cap,
            "programmes": frozenset(programmes),
            "time_limit": time_limit,
        }
        return type(function.__name__, (Filter,), space)

    return decorate


def builtin_names() -> list[str]:
    """The filters that come with ZADS."""
    files = importlib.resources.files("zads.filters.builtin").iterdir()
    return sorted(file.name.removesuffix(".py") for file in files if file.name.endswith(".py") and file.name[0] != "_")


def locate(path_or_name: str | Path) -> tuple[Path, str]:
    """The file of a filter (``FILE``, ``FILE:CLASS`` or a built-in's name) and the class that is asked for, or "".

    Raises FilterError if there is none.
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

    The file's code is executed here: for a filter that is not trusted use `zads.filters.runtime`.
    Raises FilterError naming the file and, where there is one, the line.
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
            there = ", ".join(sorted(classes)) or "none"
            raise FilterError(f"{path} has no filter {wanted}", hint=f"its filters: {there}")
        return classes[wanted]
    # A base class that another one extends is not meant.
    leaves = [kind for kind in classes.values() if not any(kind in other.__mro__[1:] for other in classes.values())]
    if not leaves:
        raise FilterError(f"{path} has no filter", hint="write a class that extends zads.filters.Filter")
    if len(leaves) > 1:
        names = sorted(kind.__name__ for kind in leaves)
        raise FilterError(f"{path} has {len(names)} filters ({', '.join(names)})", hint=f"say which: {path}:{names[0]}")
    return leaves[0]


def _instance(kind: type[Filter], path: Path) -> Filter:
    where = f"{path}: the filter {kind.__name__}"
    if not (inspect.cleandoc(kind.__doc__ or "")):
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
        raise FilterError(f"{where} declares no fields as a tuple", hint=f"for example {_HOW}")
    if len(kind.fields) > MAX_FIELDS or any(len(str(field)) > MAX_NAME for field in kind.fields):
        hint = f"at most {MAX_FIELDS} of at most {MAX_NAME} characters"
        raise FilterError(f"{where} declares too many fields, or too long ones", hint=hint)
    for field in kind.fields:
        if not isinstance(field, str) or not _DOTTED.fullmatch(field):
            raise FilterError(f"{where} declares the field {field!r}, which is no dotted path", hint=f"as in {_HOW}")
    if not set(kind.programmes) or not set(kind.programmes) <= set(PROGRAMMES):
        raise FilterError(f"{where} declares programmes {set(kind.programmes)}", hint="they are 1, 2 and 3")
    if isinstance(kind.cap, bool) or not isinstance(kind.cap, int) or not 1 <= kind.cap <= MAX_CAP:
        hint = f"a whole number of alerts a visit, from 1 to {MAX_CAP}"
        raise FilterError(f"{where} declares the cap {kind.cap!r:.40}", hint=hint)
    if not isinstance(kind.time_limit, int | float) or not 0 < kind.time_limit <= 10:
        raise FilterError(f"{where} declares the time limit {kind.time_limit!r}", hint="seconds, above 0, at most 10")


def summary(path: Path) -> str:
    """The first line of a filter's docstring, read without running its code; "" if there is none."""
    try:
        tree = ast.parse(path.read_text("utf-8"))
    except (OSError, ValueError, SyntaxError):
        return ""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
            return text.splitlines()[0]
    return ""
