"""Packets of a night that never was: ZTF's cadence, sizes and fields, the same for the same seed.

The pictures are noise with a star, the light curves a rise and a fall; nothing here should be mistaken for a model of
the sky. What is meant to be right is what the system notices: packets of 60-75 KB that pass every check, an exposure
every 40 s, objects that return, all schema versions and programmes.
"""

from __future__ import annotations

import datetime
import functools
import io
import json
import string
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import fastavro
import numpy as np

from zads import schemas, topics
from zads.avro import schema as avro_schema
from zads.errors import ZadsError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

VISIT_SECONDS = 40.0  # 30 s exposure, 10 s readout and slew (Bellm et al. 2019, PASP 131, 018002)
FIRST_VISIT_HOURS = 3.0  # UTC; dusk at Palomar in winter, and late enough for a whole night within one UTC date
MAX_VISITS = int((24 - FIRST_VISIT_HOURS) * 3600 / VISIT_SECONDS)
SIDE = 63  # pixels of a cutout, of about 1 arcsecond
SCHEMAS = {"3.2": 1.0, "3.3": 1.0, "4.01": 1.0, "4.02": 1.0}
PROGRAMMES = {1: 0.6, 2: 0.3, 3: 0.1}
HISTORY_DAYS = 30.0  # that a packet looks back
_FIRST_NIGHT_JD = 2457754.5  # ZTF counts nights (nid) from 2017-01-01
_MAGIC = b"Obj\x01"
# What an upper limit says: of the image, and of no source in it.
_LIMIT = {
    "jd", "fid", "nid", "diffmaglim", "pdiffimfilename", "rbversion", "programid", "programpi", "rcid", "field", "pid",
}  # fmt: skip
_Array = np.ndarray[Any, Any]


def simulate(
    night: str,
    visits: int,
    alerts_per_visit: int,
    seed: int = 1,
    *,
    schema_mix: Mapping[str, float] = SCHEMAS,
    programme_mix: Mapping[int, float] = PROGRAMMES,
) -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    """Each visit's name (its packets' `visit`) with the file names and bytes of its packets.

    A mix maps a schema version or a programme to its share, in any unit. Raises ZadsError for a night, a version or a
    programme that does not exist, or more visits than a night has room for.
    """
    start = datetime.datetime.strptime(topics.check_night(night), "%Y%m%d").replace(tzinfo=datetime.UTC)
    if not 0 <= visits <= MAX_VISITS:
        raise ZadsError(f"{visits} visits do not fit into a night", hint=f"ask for at most {MAX_VISITS}")
    if unknown := set(programme_mix) - set(topics.PROGRAMMES):
        raise ZadsError(f"there is no programme {min(unknown)}", hint="programmes are 1, 2 and 3")
    writers = [_Writer(schemas.get(version)) for version in schema_mix]
    shares = _shares(schema_mix), _shares(programme_mix)
    mjd = start.timestamp() / 86400 + (topics.UNIX_EPOCH_JD - topics.MJD_EPOCH_JD) + FIRST_VISIT_HOURS / 24
    # An object is seen about twice a night.
    objects = max(2 * alerts_per_visit, visits * alerts_per_visit // 2)

    def generate() -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
        # One after another: an object is the same whatever their number.
        drawn = np.random.default_rng(seed).random((objects, 6), np.float32)
        for number in range(visits):
            rng = np.random.default_rng([seed, int(night), number])
            jd = mjd + number * VISIT_SECONDS / 86400 + topics.MJD_EPOCH_JD
            chosen = rng.choice(len(writers), alerts_per_visit, p=shares[0]).tolist()
            programmes = rng.choice(list(programme_mix), alerts_per_visit, p=shares[1])
            seen = rng.choice(objects, alerts_per_visit, replace=False)
            sources = _Sources(seen, drawn[seen].astype(float), start.year)
            packets = _packets(rng, [writers[one] for one in chosen], jd, programmes, sources)
            yield topics.visit_of(jd), packets

    return generate()


def _shares(mix: Mapping[Any, float]) -> list[float]:
    total = sum(mix.values())
    if not mix or total <= 0 or min(mix.values()) < 0:
        raise ZadsError("a mix needs shares that are not negative, and one that is positive")
    return [share / total for share in mix.values()]


class _Sources:
    """Where objects are and how bright, one array element each; an object is the same whenever it is seen."""

    def __init__(self, numbers: _Array, u: _Array, year: int) -> None:
        self.names = [_object_name(number, year) for number in numbers.tolist()]
        self.ra = 360 * u[:, 0]
        self.dec = np.degrees(np.arcsin(-0.5 + 1.5 * u[:, 1]))  # from -30 degrees to the pole
        self.peak = 20.5 - 4 * u[:, 2] ** 3
        self.days = 2 + HISTORY_DAYS * u[:, 3]
        self.star = u[:, 4]  # star-galaxy score of its neighbour
        self.field = 200 + (u[:, 5] * 700).astype(int)

    def __len__(self) -> int:
        return len(self.names)


def _object_name(number: int, year: int) -> str:
    letters, rest = [], (number * 2_654_435_761) % 26**7
    for _ in range(7):
        rest, letter = divmod(rest, 26)
        letters.append(string.ascii_lowercase[letter])
    return f"ZTF{year % 100:02d}{''.join(letters)}"


class _Writer:
    """Object container files of one schema, as ZTF's own: one block of one record, the schema in the header."""

    def __init__(self, schema: schemas.Schema) -> None:
        self.version = schema.version
        self._sync = f"zads-{schema.version}".encode().ljust(16, b".")
        metadata = {"avro.codec": b"null", "avro.schema": json.dumps(schema.definition).encode()}
        self._header = _MAGIC + _avro({"type": "map", "values": "bytes"}, metadata) + self._sync
        self._fields = {entry["name"]: entry["type"] for entry in avro_schema.resolved(schema.definition)["fields"]}
        self.candidate = self._fields["candidate"]
        self.previous = _branch(self._fields["prv_candidates"])["items"]
        self.forced = _branch(self._fields["fp_hists"])["items"] if "fp_hists" in self._fields else None

    def write(self, values: Mapping[str, Any]) -> bytes:
        """A packet. A record is given as it is encoded, an array as a list of such, None is null."""
        parts = []
        for name, kind in self._fields.items():
            value = values.get(name)
            if isinstance(kind, list):
                parts.append(_long(_number(kind, value is None)))
            if isinstance(value, bytes):
                parts.append(value)
            elif isinstance(value, list):
                parts += [_long(len(value)), *value, b"\x00"] if value else [b"\x00"]
            elif value is not None:
                parts.append(_avro(kind, value))
        data = b"".join(parts)
        return b"".join((self._header, b"\x02", _long(len(data)), data, self._sync))


def _branch(kind: Any) -> Any:
    """What a value that is not null is."""
    return kind[_number(kind, False)] if isinstance(kind, list) else kind


def _number(union: list[Any], null: bool) -> int:
    return next(number for number, branch in enumerate(union) if (branch == "null") == null)


def _avro(kind: Any, value: Any) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, kind, value)
    return out.getvalue()


def _long(number: int) -> bytes:
    """Avro's zigzag variable-length integer."""
    number = (number << 1) ^ (number >> 63)
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _records(
    rng: np.random.Generator, kind: Mapping[str, Any], known: Mapping[str, Any], count: int, only: Collection[str] = ()
) -> list[bytes]:
    """So many records of one kind, encoded column by column: one by one takes twenty times as long.

    `known` holds columns: an array with an element a record (text as bytes of one length), or a value for all. Others
    are plausible only in their type, and null if there is an `only` that does not name them.
    """
    table = _Table(count)
    for entry in kind["fields"] if count else ():
        name, branch = entry["name"], entry["type"]
        if isinstance(branch, list):
            absent = bool(only) and name not in only
            table.same(_long(_number(branch, absent)))
            if absent:
                continue
            branch = _branch(branch)
        column = known[name] if name in known else _any(rng, branch, count)
        if isinstance(column, np.ndarray):
            table.column(branch, column)
        else:
            table.same(_avro(branch, column))
    return table.rows()


class _Table:
    """Records under way: their bytes from left to right, and which of them count, for integers differ in length."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._constant = b""
        self._cells: list[_Array] = []
        self._used: list[_Array] = []

    def same(self, data: bytes) -> None:
        """The same bytes in every record."""
        self._constant += data

    def column(self, kind: str, values: _Array) -> None:
        """A value for each record; `kind` is a primitive type of Avro."""
        if kind in ("int", "long"):
            self._flush()
            self._append(*_varints(values))
            return
        if kind == "string":
            self.same(_long(values.dtype.itemsize))
        self._flush()
        values = np.ascontiguousarray(
            values if kind == "string" else values.astype("<f4" if kind == "float" else "<f8")
        )
        self._append(values.view(np.uint8).reshape(self._count, -1))

    def _flush(self) -> None:
        if self._constant:
            self._append(np.broadcast_to(np.frombuffer(self._constant, np.uint8), (self._count, len(self._constant))))
            self._constant = b""

    def _append(self, cells: _Array, used: _Array | None = None) -> None:
        self._cells.append(cells)
        self._used.append(np.broadcast_to(True, cells.shape) if used is None else used)

    def rows(self) -> list[bytes]:
        """The records' bytes."""
        self._flush()
        if not self._cells:
            return []
        used = np.hstack(self._used)
        data = np.hstack(self._cells)[used].tobytes()
        ends = np.cumsum(used.sum(axis=1)).tolist()
        return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _varints(values: _Array) -> tuple[_Array, _Array]:
    """`_long` of an array: ten bytes of each, and which of them it needs."""
    values = values.astype(np.int64)
    zigzag = ((values << 1) ^ (values >> 63)).view(np.uint64)[:, None]
    rest = zigzag >> (7 * np.arange(10, dtype=np.uint64))
    used = rest > 0
    used[:, 0] = True
    more = np.hstack([used[:, 1:], np.zeros((len(values), 1), bool)])
    return (rest & np.uint64(0x7F) | (more * np.uint64(0x80))).astype(np.uint8), used


def _any(rng: np.random.Generator, kind: str, count: int) -> Any:
    if kind == "string":
        return "simulated"
    return (
        rng.random(count) if kind in ("float", "double") else rng.integers(0, 100 if kind == "int" else 10**12, count)
    )


def _packets(
    rng: np.random.Generator, writers: list[_Writer], jd: float, programmes: _Array, sources: _Sources
) -> list[tuple[str, bytes]]:
    """A visit: one packet for each of the sources, by its writer and of its programme."""
    nid, index = int(jd - _FIRST_NIGHT_JD), np.arange(len(sources))
    pid = int(f"{nid}{int((jd - 0.5) % 1 * 1e5):05d}0015") + index % 64 * 100
    candid = pid * 1_000_000 + index
    common = {
        "programid": programmes,
        "programpi": "Simulated",
        "rcid": index % 64,
        "field": sources.field,
        "pid": pid,
    }
    visit = _Visit(rng, jd, sources, common, [_Parts() for _ in writers])
    for writer in dict.fromkeys(writers):
        mine = np.array([one is writer for one in writers])
        _candidates(visit, writer, index[mine], candid[mine])
        _histories(visit, writer, index[mine])
        _forced(visit, writer, index[mine])
    packets = []
    for number, (writer, part) in enumerate(zip(writers, visit.parts, strict=True)):
        values = {
            "schemavsn": writer.version,
            "publisher": "ZADS simulator",
            "objectId": sources.names[number],
            "candid": int(candid[number]),
            "candidate": part.candidate,
            "prv_candidates": part.history or None,
            "fp_hists": part.forced,
        }
        # One in fifty touches the edge of its detector: part of it is missing.
        cutouts = _cutouts(rng, 10 ** (0.4 * (22 - float(sources.peak[number]))), number % 50 == 49)
        for kind, data in zip(("Science", "Template", "Difference"), cutouts, strict=True):
            name = f"candid{candid[number]}_pid{pid[number]}_targ_{kind[:3].lower()}.fits.gz".encode()
            values[f"cutout{kind}"] = b"".join((_long(len(name)), name, _long(len(data)), data))
        packets.append((f"{candid[number]}.avro", writer.write(values)))
    return packets


@dataclass
class _Parts:
    """A packet's records, encoded."""

    candidate: bytes = b""
    history: list[bytes] = field(default_factory=list)
    forced: list[bytes] = field(default_factory=list)


@dataclass
class _Visit:
    """An exposure under way: when, of which sources, what its detections have in common, and its packets' parts."""

    rng: np.random.Generator
    jd: float
    sources: _Sources
    common: Mapping[str, Any]
    parts: list[_Parts]


def _detections(rng: np.random.Generator, sources: _Sources, of: _Array, jd: float, ages: _Array) -> dict[str, Any]:
    """What images taken `ages` days before `jd` say of the sources with the indices `of`, by column."""
    u = rng.random((12, len(of)))
    star, days, ra, dec = sources.star[of], sources.days[of], sources.ra[of], sources.dec[of]
    # It rises towards now over its days.
    bright = np.minimum(sources.peak[of] + 2.5 * (ages / days) ** 1.5, 22.5)
    magnitude = bright + 0.1 * (u[0] - 0.5)
    error = 0.02 + 0.01 * 10 ** (0.4 * (magnitude - 19))
    return {
        "jd": jd - ages,
        "fid": 1 + (2 * u[1]).astype(int),
        "nid": (jd - ages - _FIRST_NIGHT_JD).astype(int),
        "diffmaglim": 19.8 + u[2],
        "pdiffimfilename": np.array(
            [b"ztf_%06d_scimrefdiffimg.fits" % number for number in sources.field[of].tolist()], "S30"
        ),
        "isdiffpos": np.where(u[3] < 0.8, b"t", b"f"),
        "xpos": 3072 * u[4],
        "ypos": 3080 * u[5],
        "ra": ra + 1e-5 * (u[6] - 0.5),
        "dec": dec + 1e-5 * (u[7] - 0.5),
        "ranr": ra,
        "decnr": dec,
        "magpsf": magnitude,
        "sigmapsf": error,
        "magap": magnitude + 0.05 * (u[8] - 0.5),
        "sigmagap": 1.3 * error,
        "distnr": 5 * u[9],
        "magnr": 16 + 6 * star,
        "fwhm": 1.5 + 2 * u[10],
        "elong": 1 + 0.4 * u[11],
        "rb": 1 - u[10] ** 2,
        "drb": 1 - u[11] ** 3,
        "nbad": 0,
        "nneg": (5 * u[8]).astype(int),
        "ssdistnr": -999.0,
        "ssmagnr": -999.0,
        "ssnamenr": "null",
        "sgscore1": star,
        "distpsnr1": 10 * star,
        "ndethist": 1 + days.astype(int),
        "ncovhist": 100 + days.astype(int),
        "jdstarthist": jd - days,
        "jdendhist": jd,
        "tooflag": 0,
        "exptime": 30.0,
        "magzpsci": 26.2 + 0.2 * u[2],
        "rbversion": "t17_f5_c3",
        "drbversion": "d6_m7",
        "jdstartref": jd - 400,
        "jdendref": jd - 200,
        "nframesref": 15,
    }


def _candidates(visit: _Visit, writer: _Writer, of: _Array, candid: _Array) -> None:
    known = _detections(visit.rng, visit.sources, of, visit.jd, np.zeros(len(of))) | _of(visit.common, of)
    known["candid"] = candid
    for number, record in zip(of.tolist(), _records(visit.rng, writer.candidate, known, len(of)), strict=True):
        visit.parts[number].candidate = record


def _histories(visit: _Visit, writer: _Writer, of: _Array) -> None:
    """The last 30 days of each source, oldest first: detections while it was bright enough, upper limits before."""
    of = np.repeat(of, visit.rng.integers(0, 25, len(of)))
    ages = visit.rng.uniform(0.5, HISTORY_DAYS, len(of))
    ages = ages[np.lexsort((-ages, of))]
    known = _detections(visit.rng, visit.sources, of, visit.jd, ages) | _of(visit.common, of)
    known["candid"] = ((visit.jd - ages - _FIRST_NIGHT_JD) * 1e15).astype(int)
    seen = known["magpsf"] < known["diffmaglim"]
    detections = iter(_records(visit.rng, writer.previous, _of(known, seen), int(seen.sum())))
    limits = iter(_records(visit.rng, writer.previous, _of(known, ~seen), int((~seen).sum()), _LIMIT))
    for number, detected in zip(of.tolist(), seen.tolist(), strict=True):
        visit.parts[number].history.append(next(detections if detected else limits))


def _forced(visit: _Visit, writer: _Writer, of: _Array) -> None:
    """Forced photometry of up to 14 earlier nights, where a schema has it."""
    if writer.forced is None:
        return
    counts = visit.rng.integers(0, 15, len(of))
    of = np.repeat(of, counts)
    nights = np.arange(len(of)) - np.repeat(np.cumsum(counts) - counts, counts)
    known = _of(visit.common, of) | {"jd": visit.jd - 1 - 2 * nights, "fid": 1 + nights % 2, "procstatus": "0"}
    for number, record in zip(of.tolist(), _records(visit.rng, writer.forced, known, len(of)), strict=True):
        visit.parts[number].forced.append(record)


def _of(columns: Mapping[str, Any], of: _Array) -> dict[str, Any]:
    return {name: column[of] if isinstance(column, np.ndarray) else column for name, column in columns.items()}


def _cutouts(rng: np.random.Generator, flux: float, masked: bool) -> list[bytes]:
    """Three FITS images of 63 x 63 big-endian 32-bit floats: noise and a star in the middle, NaN where nothing was."""
    pixels = rng.standard_normal((3, SIDE, SIDE), dtype=np.float32) * np.float32(10)
    pixels += _star() * np.float32(flux)
    if masked:
        pixels[:, :, SIDE - 12 :] = np.nan
    return [_gzip(image.tobytes()) for image in pixels.astype(">f4")]


def _gzip(data: bytes) -> bytes:
    """A FITS file of these pixels. Noise has no repetitions: looking for runs alone gives the same size, sooner."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 16 + zlib.MAX_WBITS, strategy=zlib.Z_RLE)
    return packer.compress(_fits_header() + data + bytes(-len(data) % 2880)) + packer.flush()


@functools.cache
def _star() -> np.ndarray[Any, Any]:
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE // 2
    star: np.ndarray[Any, Any] = np.exp(-(x**2 + y**2) / (2 * 1.2**2)).astype(np.float32)
    return star


@functools.cache
def _fits_header() -> bytes:
    cards = [("SIMPLE", "T"), ("BITPIX", "-32"), ("NAXIS", "2"), ("NAXIS1", str(SIDE)), ("NAXIS2", str(SIDE))]
    text = "".join(f"{name:<8}= {value:>20}".ljust(80) for name, value in cards) + "END".ljust(80)
    return text.encode().ljust(2880)
