"""The alert that a filter sees: a read-only mapping of the fields that it declares.

What no filter declares is never decoded. Reading an undeclared field raises an error that names it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NoReturn

from zads.avro.fields import Wanted, tree
from zads.errors import ZadsError

#: Top-level fields that are decoded with the packet; all others are decoded when a filter first reads them.
EAGER = ("schemavsn", "publisher", "objectId", "candid", "candidate")


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
    """A read-only record of an alert that holds only the declared fields.

    A lookup costs as much as a dict's. Reading an undeclared field raises UndeclaredField. A declared field that the
    packet's schema version lacks raises MissingField; ``get`` returns its default instead.
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
        """The field, or `default` if the packet's schema lacks it. Raises UndeclaredField."""
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
    """One alert as a filter sees it: a read-only mapping of the filter's declared fields.

    The light curve and the cutouts are decoded when the filter first reads them.
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
        """The field, or `default` if the packet's schema lacks it. Raises UndeclaredField."""
        try:
            return self[key]
        except MissingField:
            return default

    def keys(self) -> Any:
        """Names of the declared fields that the packet has."""
        self._complete()
        return dict.keys(self)

    def values(self) -> Any:
        """Values of the declared fields that the packet has."""
        self._complete()
        return dict.values(self)

    def items(self) -> Any:
        """Names and values of the declared fields that the packet has."""
        self._complete()
        return dict.items(self)

    def _complete(self) -> None:
        for name in self._late:
            self.get(name)


class View:
    """Makes alerts with a set of declared fields from decoded packets. Make one View for each set of fields.

    `late` names top-level fields that are fetched when they are first read. `read`, if given, is called with the dotted
    path of every field that is looked up; this makes lookups slower.
    """

    def __init__(
        self, fields: Iterable[str], late: Iterable[str] = (), read: Callable[[str], None] | None = None
    ) -> None:
        declared = tree(fields)
        makers = {name: _maker(declared[name], f"{name}.", Record, read) for name in late if name in declared}
        self._make = _maker(declared, "", Alert, read, makers)

    def __call__(self, decoded: Mapping[str, Any], fetch: Fetch | None = None) -> Alert:
        """The alert of a decoded packet, which may hold more fields; `fetch` decodes a late field.

        `fetch` raises MissingField for a field that the packet's schema lacks.
        """
        alert: Alert = self._make(decoded)
        alert._fetch = fetch
        return alert


def _maker(
    declared: Wanted,
    path: str,
    base: type[Record],
    read: Callable[[str], None] | None,
    late: Mapping[str, Callable[[Any], Any]] | None = None,
) -> Callable[[Any], Any]:
    """A function that makes the read-only counterpart of a decoded value, with the declared fields only."""
    if not declared:
        return _freeze if read is None else _tracing_freeze(path, read)
    space: dict[str, Any] = {"__slots__": (), "_path": path, "_declared": frozenset(declared)}
    if read is not None:
        space |= _tracing(base, path, read)
    if late:
        space["_late"] = late
    kind = type(base.__name__, (base,), space)
    names = tuple(name for name in declared if name not in (late or ()))
    # Below an alert's own records and arrays there are only scalars, which need no maker.
    below = {name: _maker(node, f"{path}{name}.", Record, read) for name, node in declared.items() if node or not path}
    build = _builder(kind, names, below)
    partial: dict[tuple[str, ...], Callable[[Any], Any]] = {}  # builders for schemas that lack some of the fields

    def make(value: Any) -> Any:
        if value.__class__ is not dict:
            if isinstance(value, list | tuple):
                return tuple(map(make, value))
            if value is None:
                return None
        try:
            return build(value)
        except KeyError:
            present = tuple(name for name in names if name in value)
            if present not in partial:
                partial[present] = _builder(kind, present, below)
            return partial[present](value)

    return make


def _builder(kind: type[Record], names: Sequence[str], below: Mapping[str, Callable[[Any], Any]]) -> Callable[..., Any]:
    """A function that makes a record with some fields of a decoded one.

    Its code is generated, as namedtuple's is. It runs once for each filter and alert, since each filter of a group may
    declare its own set of fields; a loop over the names would take several times as long.
    """
    space: dict[str, Any] = {"kind": kind, "containers": _CONTAINERS}
    terms = []
    for place, name in enumerate(names):
        if name in below:
            space[f"make{place}"] = below[name]
            term = f"make{place}(inner) if (inner := value[{name!r}]).__class__ in containers else inner"
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
    """Methods that report which fields are read; reading all of a record is reported as ``PATH.*``."""

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
