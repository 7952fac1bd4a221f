"""Packets of a simulated night: ZTF's cadence, sizes and fields, the same for the same seed.

This is no model of the sky: the pictures are noise with a star, and the light curves rise and fall. It is right in the
properties that matter to the system: packets of 60-75 KB that pass every check, an exposure every 40 s, objects that
return, all schema versions and programmes.
"""

from __future__ import annotations

import datetime
import functools
import string
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from zads import julian, names, schemas
from zads.errors import ZadsError
from zads.sources.encoding import PacketWriter, encode_long, encode_records

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

VISIT_SECONDS = 40.0  # 30 s exposure, 10 s readout and slew (Bellm et al. 2019, PASP 131, 018002)
FIRST_VISIT_HOURS = 3.0  # UTC: dusk at Palomar in winter. The whole night then has one UTC date.
MAX_VISITS = int((24 - FIRST_VISIT_HOURS) * 3600 / VISIT_SECONDS)
SIDE = 63  # pixels of a cutout, of about 1 arcsecond
SCHEMA_MIX = {"3.2": 1.0, "3.3": 1.0, "4.01": 1.0, "4.02": 1.0}
PROGRAMME_MIX = {1: 0.6, 2: 0.3, 3: 0.1}
HISTORY_DAYS = 30.0  # that a packet's history covers
_FIRST_NIGHT_JD = 2457754.5  # ZTF counts nights (nid) from 2017-01-01
# An upper limit has the fields of the image, but none of a source in it.
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
    schema_mix: Mapping[str, float] = SCHEMA_MIX,
    programme_mix: Mapping[int, float] = PROGRAMME_MIX,
) -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    """Each visit's name (its packets' `visit`) with the file names and bytes of its packets.

    A mix maps a schema version or a programme to its share, in any unit. Raises ZadsError for a night, a version or a
    programme that does not exist, or more visits than a night has room for.
    """
    start = datetime.datetime.strptime(names.check_night(night), "%Y%m%d").replace(tzinfo=datetime.UTC)
    if not 0 <= visits <= MAX_VISITS:
        raise ZadsError(f"{visits} visits do not fit into a night", hint=f"ask for at most {MAX_VISITS}")
    if unknown := set(programme_mix) - set(names.PROGRAMMES):
        raise ZadsError(f"there is no programme {min(unknown)}", hint=names.PROGRAMMES_IN_WORDS)
    writers = [PacketWriter(schemas.get(version)) for version in schema_mix]
    shares = _shares(schema_mix), _shares(programme_mix)
    midnight = start.timestamp() / julian.SECONDS_A_DAY + (julian.UNIX_EPOCH_JD - julian.MJD_EPOCH_JD)
    mjd = midnight + FIRST_VISIT_HOURS / 24
    # An object is seen about twice a night.
    objects = max(2 * alerts_per_visit, visits * alerts_per_visit // 2)

    def generate() -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
        # Objects are drawn one after the other, so that an object does not depend on how many there are.
        drawn = np.random.default_rng(seed).random((objects, 6), np.float32)
        for number in range(visits):
            rng = np.random.default_rng([seed, int(night), number])
            jd = mjd + number * VISIT_SECONDS / julian.SECONDS_A_DAY + julian.MJD_EPOCH_JD
            chosen = rng.choice(len(writers), alerts_per_visit, p=shares[0]).tolist()
            programmes = rng.choice(list(programme_mix), alerts_per_visit, p=shares[1])
            seen = rng.choice(objects, alerts_per_visit, replace=False)
            sources = _Sources(seen, drawn[seen].astype(float), start.year)
            packets = _packets(rng, [writers[one] for one in chosen], jd, programmes, sources)
            yield names.visit_of(jd), packets

    return generate()


def _shares(mix: Mapping[Any, float]) -> list[float]:
    total = sum(mix.values())
    if not mix or total <= 0 or min(mix.values()) < 0:
        raise ZadsError("a mix needs shares that are not negative, and one that is positive")
    return [share / total for share in mix.values()]


class _Sources:
    """The positions and magnitudes of objects, one array element each; an object is the same in every visit."""

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


def _packets(
    rng: np.random.Generator, writers: list[PacketWriter], jd: float, programmes: _Array, sources: _Sources
) -> list[tuple[str, bytes]]:
    """A visit: one packet for each of the sources, with the source's writer and programme."""
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
        chosen = np.array([one is writer for one in writers])
        _candidates(visit, writer, index[chosen], candid[chosen])
        _histories(visit, writer, index[chosen])
        _forced(visit, writer, index[chosen])
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
            values[f"cutout{kind}"] = b"".join((encode_long(len(name)), name, encode_long(len(data)), data))
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
    """An exposure: its time, its sources, what its detections have in common, and the parts of its packets so far."""

    rng: np.random.Generator
    jd: float
    sources: _Sources
    common: Mapping[str, Any]
    parts: list[_Parts]


def _detections(rng: np.random.Generator, sources: _Sources, of: _Array, jd: float, ages: _Array) -> dict[str, Any]:
    """What images taken `ages` days before `jd` show of the sources with the indices `of`, by column."""
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


def _candidates(visit: _Visit, writer: PacketWriter, of: _Array, candid: _Array) -> None:
    known = _detections(visit.rng, visit.sources, of, visit.jd, np.zeros(len(of))) | _of(visit.common, of)
    known["candid"] = candid
    for number, record in zip(of.tolist(), encode_records(visit.rng, writer.candidate, known, len(of)), strict=True):
        visit.parts[number].candidate = record


def _histories(visit: _Visit, writer: PacketWriter, of: _Array) -> None:
    """The last 30 days of each source, oldest first: detections while it was bright enough, upper limits before."""
    of = np.repeat(of, visit.rng.integers(0, 25, len(of)))
    ages = visit.rng.uniform(0.5, HISTORY_DAYS, len(of))
    ages = ages[np.lexsort((-ages, of))]
    known = _detections(visit.rng, visit.sources, of, visit.jd, ages) | _of(visit.common, of)
    known["candid"] = ((visit.jd - ages - _FIRST_NIGHT_JD) * 1e15).astype(int)
    seen = known["magpsf"] < known["diffmaglim"]
    detections = iter(encode_records(visit.rng, writer.previous, _of(known, seen), int(seen.sum())))
    limits = iter(encode_records(visit.rng, writer.previous, _of(known, ~seen), int((~seen).sum()), _LIMIT))
    for number, detected in zip(of.tolist(), seen.tolist(), strict=True):
        visit.parts[number].history.append(next(detections if detected else limits))


def _forced(visit: _Visit, writer: PacketWriter, of: _Array) -> None:
    """Forced photometry of up to 14 earlier nights, where a schema has it."""
    if writer.forced is None:
        return
    counts = visit.rng.integers(0, 15, len(of))
    of = np.repeat(of, counts)
    nights = np.arange(len(of)) - np.repeat(np.cumsum(counts) - counts, counts)
    known = _of(visit.common, of) | {"jd": visit.jd - 1 - 2 * nights, "fid": 1 + nights % 2, "procstatus": "0"}
    for number, record in zip(of.tolist(), encode_records(visit.rng, writer.forced, known, len(of)), strict=True):
        visit.parts[number].forced.append(record)


def _of(columns: Mapping[str, Any], of: _Array) -> dict[str, Any]:
    return {name: column[of] if isinstance(column, np.ndarray) else column for name, column in columns.items()}


def _cutouts(rng: np.random.Generator, flux: float, masked: bool) -> list[bytes]:
    """Three FITS images of 63 x 63 big-endian 32-bit floats: noise and a star in the middle, NaN off the detector."""
    pixels = rng.standard_normal((3, SIDE, SIDE), dtype=np.float32) * np.float32(10)
    pixels += _star() * np.float32(flux)
    if masked:
        pixels[:, :, SIDE - 12 :] = np.nan
    return [_gzip(image.tobytes()) for image in pixels.astype(">f4")]


def _gzip(data: bytes) -> bytes:
    """A FITS file of these pixels. Noise does not repeat, so run-length matching alone is faster at the same size."""
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
