"""Packets of a night that never was: ZTF's cadence, sizes and fields, the same for the same seed.

The pictures are noise with a star, the light curves a rise and a fall; nothing here should be mistaken for a model of
the sky. What is meant to be right is what the system notices: packets of 60-75 KB that pass every check, an exposure
every 40 s, objects that return, all schema versions and programmes.
"""

from __future__ import annotations

import datetime
import functools
import gzip
import io
import json
import math
import string
from typing import TYPE_CHECKING, Any

import fastavro
import numpy as np

from zads import schemas, topics
from zads.errors import ZadsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

VISIT_SECONDS = 40.0  # 30 s exposure, 10 s readout and slew (Bellm et al. 2019, PASP 131, 018002)
FIRST_VISIT_HOURS = 3.0  # UTC; dusk at Palomar in winter, and late enough for a whole night within one UTC date
MAX_VISITS = int((24 - FIRST_VISIT_HOURS) * 3600 / VISIT_SECONDS)
SIDE = 63  # pixels of a cutout, of about 1 arcsecond
SCHEMAS = {"3.2": 1.0, "3.3": 1.0, "4.01": 1.0, "4.02": 1.0}
PROGRAMMES = {1: 0.6, 2: 0.3, 3: 0.1}
HISTORY_DAYS = 30.0  # that a packet looks back
_MJD_EPOCH_JD = 2400000.5
_FIRST_NIGHT_JD = 2457754.5  # ZTF counts nights (nid) from 2017-01-01
_MAGIC = b"Obj\x01"


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
    mjd = start.timestamp() / 86400 + 40587 + FIRST_VISIT_HOURS / 24
    # An object is seen about twice a night.
    objects = max(2 * alerts_per_visit, visits * alerts_per_visit // 2)

    def generate() -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
        for number in range(visits):
            rng = np.random.default_rng([seed, int(night), number])
            jd = mjd + number * VISIT_SECONDS / 86400 + _MJD_EPOCH_JD
            chosen = rng.choice(len(writers), alerts_per_visit, p=shares[0]).tolist()
            programmes = rng.choice(list(programme_mix), alerts_per_visit, p=shares[1]).tolist()
            seen = rng.choice(objects, alerts_per_visit, replace=False).tolist()
            packets = [
                _packet(
                    rng, writers[chosen[index]], jd, index, programmes[index], _Object(seed, seen[index], start.year)
                )
                for index in range(alerts_per_visit)
            ]
            yield f"{jd - _MJD_EPOCH_JD:.5f}", packets

    return generate()


def _shares(mix: Mapping[Any, float]) -> list[float]:
    total = sum(mix.values())
    if not mix or total <= 0 or min(mix.values()) < 0:
        raise ZadsError("a mix needs shares that are not negative, and one that is positive")
    return [share / total for share in mix.values()]


class _Object:
    """Where an object is and how bright; the same whenever it is seen."""

    def __init__(self, seed: int, number: int, year: int) -> None:
        rng = np.random.default_rng([seed, number])
        letters, rest = [], (number * 2_654_435_761) % 26**7
        for _ in range(7):
            rest, letter = divmod(rest, 26)
            letters.append(string.ascii_lowercase[letter])
        self.name = f"ZTF{year % 100:02d}{''.join(letters)}"
        u = rng.random(6).tolist()
        self.ra = 360 * u[0]
        self.dec = math.degrees(math.asin(-0.5 + 1.5 * u[1]))  # from -30 degrees to the pole
        self.peak: float = 20.5 - 4 * u[2] ** 3
        self.days: float = 2 + HISTORY_DAYS * u[3]
        self.star: float = u[4]  # star-galaxy score of its neighbour
        self.field = 200 + int(u[5] * 700)

    def magnitude(self, age: float) -> float:
        """`age` days before now: it rises towards now over `days`."""
        return min(self.peak + 2.5 * math.pow(age / self.days, 1.5), 22.5)


class _Writer:
    """Object container files of one schema, as ZTF's own: one block of one record, the schema in the header."""

    def __init__(self, schema: schemas.Schema) -> None:
        self.version = schema.version
        self._parsed = fastavro.parse_schema(json.loads(json.dumps(schema.definition)))
        self._sync = f"zads-{schema.version}".encode().ljust(16, b".")
        header = io.BytesIO()
        metadata = {"avro.codec": b"null", "avro.schema": json.dumps(schema.definition).encode()}
        fastavro.schemaless_writer(header, fastavro.parse_schema({"type": "map", "values": "bytes"}), metadata)
        self._header = _MAGIC + header.getvalue() + self._sync
        fields = {entry["name"]: entry["type"] for entry in schemas.resolved(schema.definition)["fields"]}
        self.candidate = _fields(fields["candidate"])
        self.previous = _fields(fields["prv_candidates"])
        self.forced = _fields(fields["fp_hists"]) if "fp_hists" in fields else None

    def write(self, record: dict[str, Any]) -> bytes:
        body = io.BytesIO()
        fastavro.schemaless_writer(body, self._parsed, record)
        data = body.getvalue()
        return b"".join((self._header, b"\x02", _long(len(data)), data, self._sync))


def _fields(kind: Any) -> list[tuple[str, str]]:
    """Names and primitive types of a record, or of the record in an array or a union."""
    if isinstance(kind, list):
        kind = next(branch for branch in kind if branch != "null")
    if kind["type"] == "array":
        return _fields(kind["items"])
    return [(entry["name"], _primitive(entry["type"])) for entry in kind["fields"]]


def _primitive(kind: Any) -> str:
    return str(next(branch for branch in kind if branch != "null") if isinstance(kind, list) else kind)


def _long(number: int) -> bytes:
    """Avro's zigzag variable-length integer."""
    number = (number << 1) ^ (number >> 63)
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _fill(rng: np.random.Generator, fields: list[tuple[str, str]], known: Mapping[str, Any]) -> dict[str, Any]:
    """A record with the values that are known; the others are plausible only in their type."""
    values = rng.random(len(fields)).tolist()
    return {
        name: known[name] if name in known else _any(kind, value)
        for (name, kind), value in zip(fields, values, strict=True)
    }


def _any(kind: str, value: float) -> Any:
    if kind in ("float", "double"):
        return value
    if kind == "string":
        return "simulated"
    return int(value * (100 if kind == "int" else 1e12))


def _packet(
    rng: np.random.Generator, writer: _Writer, jd: float, index: int, programme: int, source: _Object
) -> tuple[str, bytes]:
    nid = int(jd - _FIRST_NIGHT_JD)
    rcid = index % 64
    pid = int(f"{nid}{int((jd - 0.5) % 1 * 1e5):05d}{rcid:02d}15")
    candid = pid * 1_000_000 + index
    common = {"programid": programme, "programpi": "Simulated", "rcid": rcid, "field": source.field, "pid": pid}
    record: dict[str, Any] = {
        "schemavsn": writer.version,
        "publisher": "ZADS simulator",
        "objectId": source.name,
        "candid": candid,
        "candidate": _fill(rng, writer.candidate, _detection(rng, source, jd, 0.0) | common | {"candid": candid}),
        "prv_candidates": _history(rng, writer, source, jd, common),
    }
    if writer.forced is not None:
        record["fp_hists"] = [
            _fill(rng, writer.forced, common | {"jd": jd - 1 - 2 * night, "fid": 1 + night % 2, "procstatus": "0"})
            for night in range(int(rng.integers(0, 15)))
        ]
    for kind in ("Science", "Template", "Difference"):
        name = f"candid{candid}_pid{pid}_targ_{kind[:3].lower()}.fits.gz"
        # One in fifty touches the edge of its detector: part of it is missing.
        masked = index % 50 == 49
        record[f"cutout{kind}"] = {
            "fileName": name,
            "stampData": _cutout(rng, 10 ** (0.4 * (22 - source.peak)), masked),
        }
    return f"{candid}.avro", writer.write(record)


def _detection(rng: np.random.Generator, source: _Object, jd: float, age: float) -> dict[str, Any]:
    """What an image taken `age` days before `jd` says of an object."""
    u = rng.random(12).tolist()
    magnitude = source.magnitude(age) + 0.1 * (u[0] - 0.5)
    error = 0.02 + 0.01 * 10 ** (0.4 * (magnitude - 19))
    return {
        "jd": jd - age,
        "fid": 1 + int(2 * u[1]),
        "nid": int(jd - age - _FIRST_NIGHT_JD),
        "diffmaglim": 19.8 + u[2],
        "pdiffimfilename": f"ztf_{source.field:06d}_scimrefdiffimg.fits",
        "isdiffpos": "t" if u[3] < 0.8 else "f",
        "xpos": 3072 * u[4],
        "ypos": 3080 * u[5],
        "ra": source.ra + 1e-5 * (u[6] - 0.5),
        "dec": source.dec + 1e-5 * (u[7] - 0.5),
        "ranr": source.ra,
        "decnr": source.dec,
        "magpsf": magnitude,
        "sigmapsf": error,
        "magap": magnitude + 0.05 * (u[8] - 0.5),
        "sigmagap": 1.3 * error,
        "distnr": 5 * u[9],
        "magnr": 16 + 6 * source.star,
        "fwhm": 1.5 + 2 * u[10],
        "elong": 1 + 0.4 * u[11],
        "rb": 1 - u[10] ** 2,
        "drb": 1 - u[11] ** 3,
        "nbad": 0,
        "nneg": int(5 * u[8]),
        "ssdistnr": -999.0,
        "ssmagnr": -999.0,
        "ssnamenr": "null",
        "sgscore1": source.star,
        "distpsnr1": 10 * source.star,
        "ndethist": 1 + int(source.days),
        "ncovhist": 100 + int(source.days),
        "jdstarthist": jd - source.days,
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


def _history(
    rng: np.random.Generator, writer: _Writer, source: _Object, jd: float, common: dict[str, Any]
) -> list[dict[str, Any]] | None:
    """The last 30 days, oldest first: detections while it was bright enough, upper limits before; None for new ones."""
    ages = np.sort(rng.uniform(0.5, HISTORY_DAYS, int(rng.integers(0, 25))))[::-1].tolist()
    if not ages:
        return None
    history = []
    for age in ages:
        known = _detection(rng, source, jd, age) | common
        if known["magpsf"] < known["diffmaglim"]:
            known["candid"] = int((jd - age - _FIRST_NIGHT_JD) * 1e15)
        else:
            seen = ("jd", "fid", "nid", "diffmaglim", "pdiffimfilename", "rbversion")
            known = dict.fromkeys(name for name, _ in writer.previous) | {name: known[name] for name in seen} | common
            known["field"] = source.field
        history.append(_fill(rng, writer.previous, known))
    return history


def _cutout(rng: np.random.Generator, flux: float, masked: bool) -> bytes:
    """A FITS image of 63 x 63 big-endian 32-bit floats: noise and a star in its middle, NaN where nothing was seen."""
    pixels = rng.standard_normal((SIDE, SIDE), dtype=np.float32) * np.float32(10)
    pixels += _star() * np.float32(flux)
    if masked:
        pixels[:, SIDE - 12 :] = np.nan
    data = pixels.astype(">f4").tobytes()
    return gzip.compress(_fits_header() + data + bytes(-len(data) % 2880), compresslevel=1, mtime=0)


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
