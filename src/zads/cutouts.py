"""The pixels of an alert's cutouts, which are gzipped FITS images in the packet (FITS standard 4.0, sections 3, 4)."""

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt

from zads.errors import ZadsError
from zads.inflate import inflate

#: A cutout has 63 x 63 pixels, 20,160 bytes unpacked; no more than this is unpacked.
MAX_CUTOUT_BYTES = 4_000_000
_AXES = ("NAXIS1", "NAXIS2")


def cutout(stamp: bytes) -> npt.NDArray[np.float32]:
    """A cutout's pixels (rows, columns; usually 63 x 63) from ``stampData``, a gzipped FITS image of 32-bit floats.

    Raises ZadsError if it is not such an image.
    """
    try:
        plain, _ = inflate(stamp, 16 + zlib.MAX_WBITS, MAX_CUTOUT_BYTES)
    except ValueError as error:
        raise ZadsError(f"a cutout cannot be unpacked: {error}") from None
    cards, first = _fits_cards(plain)
    if cards.get("BITPIX") != "-32" or cards.get("NAXIS") != "2" or {"BSCALE", "BZERO"} & cards.keys():
        raise ZadsError("a cutout is not a plain image of 32-bit floats")
    columns, rows = (int(size) if size.isdecimal() else 0 for size in map(cards.get, _AXES, ("", "")))
    if not columns or not rows:
        raise ZadsError("a cutout's header does not say how large it is")
    if len(plain) < first + 4 * rows * columns:
        raise ZadsError("a cutout's data end within the image")
    pixels = np.frombuffer(plain, ">f4", rows * columns, first)
    return pixels.reshape(rows, columns).astype(np.float32)


def _fits_cards(plain: bytes) -> tuple[dict[str, str], int]:
    """A FITS header's keywords with their values, and where the data begin: at the next multiple of 2880 bytes."""
    text = plain.decode("latin-1")
    cards: dict[str, str] = {}
    for start in range(0, len(plain) - 79, 80):
        keyword = text[start : start + 8].rstrip()
        if keyword == "END":
            return cards, -(-(start + 80) // 2880) * 2880
        cards[keyword] = text[start + 10 : start + 80].partition("/")[0].strip()
    raise ZadsError("a cutout has no FITS header")
