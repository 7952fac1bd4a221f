"""An archive is whole, or it is refused: no file of it is ever lost or altered in silence."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import shutil
import subprocess
import tarfile
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from zads.sources import compression, files

CONTENTS = {f"{number}.avro": random.Random(number).randbytes(300 + 500 * number) for number in range(1, 4)}


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


PACK: dict[str, Callable[[bytes], bytes]] = {
    "tar": bytes, "tar.gz": gzip.compress, "tar.bz2": bz2.compress, "tar.xz": lzma.compress, "tar.zst": zstd,
}  # fmt: skip


def tar(members: dict[str, bytes] | None = None, form: int = tarfile.PAX_FORMAT, **changes: object) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as made:
        for name, data in (CONTENTS if members is None else members).items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            for field, value in changes.items():
                setattr(info, field, value)
            made.addfile(info, io.BytesIO(data))
    return out.getvalue()


def header(name: str, size: int | bytes = 0, kind: bytes = b"0", **over: bytes) -> bytes:
    """One header with a right checksum and any contents."""
    info = tarfile.TarInfo(name)
    info.type = kind
    raw = bytearray(info.tobuf(tarfile.USTAR_FORMAT)[:512])
    raw[124:136] = size if isinstance(size, bytes) else b"%011o\0" % size
    for at, value in over.items():
        raw[int(at[1:]) : int(at[1:]) + len(value)] = value
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw)
    return bytes(raw)


def block(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


END = bytes(1024)
FILE = header("a.avro", 3) + block(b"abc")


def put(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def whole(path: Path) -> dict[str, bytes]:
    """The contents of a whole archive. Raises SourceError if the file is not one."""
    files.check(path)
    return {item.name: item.data for item in files.read(path) if not item.refused}


@pytest.mark.parametrize("suffix", PACK)
def test_a_whole_archive_is_whole_whatever_it_is_packed_with(tmp_path, suffix):
    assert whole(put(tmp_path / f"n.{suffix}", PACK[suffix](tar()))) == CONTENTS
    assert whole(put(tmp_path / f"n.{suffix.upper()}", PACK[suffix](tar()))) == CONTENTS


@pytest.mark.parametrize("alias", [".tgz", ".tbz2", ".tbz", ".txz", ".tzst"])
def test_short_suffixes_are_taken(tmp_path, alias):
    kind = files.ARCHIVES[alias]
    pack = next(PACK[f"tar{long[4:]}"] for long, other in files.ARCHIVES.items() if other == kind)
    assert whole(put(tmp_path / f"n{alias}", pack(tar()))) == CONTENTS


@pytest.mark.parametrize("suffix", list(PACK)[1:])
def test_packed_members_follow_one_another_wherever_they_meet(tmp_path, suffix):
    data = tar()
    for at in (0, 1, 512, 1700, 5000, len(data) - 1, len(data)):
        two = PACK[suffix](data[:at]) + PACK[suffix](data[at:])
        assert whole(put(tmp_path / f"n.{suffix}", two)) == CONTENTS, at


def test_many_small_members_are_one_archive(tmp_path):
    data = tar()
    pieces = b"".join(gzip.compress(data[at : at + 100]) for at in range(0, len(data), 100))
    assert whole(put(tmp_path / "n.tgz", pieces)) == CONTENTS


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_form_of_tar_is_read_with_long_names_and_strange_owners(tmp_path, form):
    members = {f"{'d' * 90}/{'e' * 60}/x.avro": b"x" * 600, "y.avro": b""}
    if form != tarfile.USTAR_FORMAT:
        members |= {"f" * 300: b"z", "ü\udcff.avro": b"u"}
    assert whole(put(tmp_path / "n.tar", tar(members, form, uname="ü" * 10))) == members


def test_archives_of_other_programs_are_read(tmp_path):
    directory = tmp_path / "in"
    directory.mkdir()
    for name, data in CONTENTS.items():
        (directory / name).write_bytes(data)
    for form in ("v7", "oldgnu", "gnu", "ustar", "posix"):
        path = tmp_path / f"{form}.tar"
        subprocess.run(["tar", "--format", form, "-cf", path, "-C", directory, "."], check=True)
        assert whole(path) == CONTENTS, form


def test_zeros_may_fill_what_follows_the_end_and_gzip(tmp_path):
    assert whole(put(tmp_path / "n.tar", tar() + bytes(30_000))) == CONTENTS
    assert whole(put(tmp_path / "n.tar", FILE + END)) == {"a.avro": b"abc"}
    assert whole(put(tmp_path / "n.tgz", gzip.compress(tar()) + bytes(70_000))) == CONTENTS
    assert whole(put(tmp_path / "n.txz", lzma.compress(tar()) + bytes(8))) == CONTENTS


def damaged() -> dict[str, bytes]:
    data, first = tar(), 512 + 1024  # the first file, and where the next one's header is
    bad_sum = bytearray(data)
    bad_sum[first + 148] = ord("7")
    lone = bytearray(data)
    lone[first : first + 512] = bytes(512)
    long_name = header("@", 301, b"L") + block(b"n" * 301)
    return {
        "nothing": b"",
        "checksum.tar": bytes(bad_sum),
        "lone-zeros.tar": bytes(lone),
        "cut-between.tar": data[:first],
        "cut-in-header.tar": data[: first + 100],
        "cut-in-data.tar": data[: first + 700],
        "no-end.tar": FILE,
        "half-an-end.tar": FILE + bytes(512),
        "half-an-end-and-a-bit.tar": FILE + bytes(1000),
        "second.tar": data + data,
        "second-unpadded.tar": FILE + END + FILE + END,
        "garbage.tar": FILE + END + b"x",
        "padding.tar": header("a.avro", 3) + b"abc" + b"\1" * 509 + END,
        "huge.tar": header("a.avro", b"77777777777\0") + b"abc" + END,
        "huge-binary.tar": header("a.avro", b"\x80" + b"\x7f" * 11) + END,
        "negative.tar": header("a.avro", b"\xff" * 12) + END,
        "negative-octal.tar": header("a.avro", b"-0000000001\0") + END,
        "underscore.tar": header("a.avro", b"0000000_003\0") + block(b"abc") + END,
        "no-number.tar": header("a.avro", b"abcdefghijk\0") + END,
        "link-with-data.tar": header("a.avro", 3, b"1") + block(b"abc") + END,
        "directory-with-data.tar": header("a/", 3, b"5") + block(b"abc") + END,
        "name-of-nothing.tar": long_name + END,
        "pax-of-nothing.tar": header("@", 12, b"x") + block(b"12 path=a\n  ") + END,
        "pax-no-length.tar": header("@", 12, b"x") + block(b"path=a.avro\n") + FILE + END,
        "pax-too-long.tar": header("@", 12, b"x") + block(b"99 path=abc\n") + FILE + END,
        "pax-size.tar": header("@", 11, b"x") + block(b"11 size=-1\n") + FILE + END,
        "pax-endless.tar": header("@", 2 << 20, b"x") + bytes(2 << 20) + FILE + END,
        "name-endless.tar": header("@", b"77777777777\0", b"L") + FILE + END,
        "crc.tar.gz": flipped(gzip.compress(data), -8),
        "length.tar.gz": flipped(gzip.compress(data), -1),
        "no-trailer.tar.gz": gzip.compress(data)[:-8],
        "flushed.tar.gz": flushed(data[:first]),
        "end-in-second-member.tar.gz": gzip.compress(data[:first]),
        "garbage.tar.gz": gzip.compress(data) + b"garbage",
        "zeros-then-more.tar.gz": gzip.compress(data[:first]) + bytes(100) + gzip.compress(data[first:]),
        "half-second.tar.gz": gzip.compress(data[:first]) + gzip.compress(data[first:])[:-20],
        "two-tars.tar.gz": gzip.compress(data) + gzip.compress(data),
        "crc.tar.bz2": flipped(bz2.compress(data), 12),
        "cut.tar.bz2": bz2.compress(data)[:-4],
        "garbage.tar.bz2": bz2.compress(data) + b"BZnonsense",
        "cut.tar.xz": lzma.compress(data)[:-12],
        "flip.tar.xz": flipped(lzma.compress(data), 300),
        "odd-padding.tar.xz": lzma.compress(data) + bytes(3),
        "garbage.tar.xz": lzma.compress(data) + b"garbage",
        "cut.tar.zst": zstd(data)[:-4],
        "checksum.tar.zst": flipped(zstd(data), -1),
        "garbage.tar.zst": zstd(data) + b"garbage",
        "half-second.tar.zst": zstd(data[:first]) + zstd(data[first:])[:-10],
    }


def flipped(data: bytes, at: int) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 0x10
    return bytes(changed)


def flushed(data: bytes) -> bytes:
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    return packer.compress(data) + packer.flush(zlib.Z_FULL_FLUSH)


@pytest.mark.parametrize("name", damaged())
def test_what_is_not_whole_is_refused_before_anything_of_it_is_used_and_when_read(tmp_path, name):
    path = put(tmp_path / (name if "." in name else f"{name}.tar"), damaged()[name])
    with pytest.raises(files.SourceError):
        files.check(path)
    try:
        items = list(files.read(path))
    except files.SourceError:
        return
    assert "breaks off after" in items[-1].refused
    assert [item.data for item in items[:-1] if not item.refused and item.name in CONTENTS] == [
        CONTENTS[item.name] for item in items[:-1] if not item.refused and item.name in CONTENTS
    ]


@pytest.mark.parametrize("suffix", PACK)
@settings(max_examples=100)
@given(data=st.data())
def test_a_flipped_bit_or_a_cut_is_told_or_has_changed_nothing(tmp_path_factory, suffix, data):
    made = PACK[suffix](tar())
    broken = bytearray(made)
    cut = data.draw(st.booleans())
    if cut:
        del broken[data.draw(st.integers(0, len(made) - 1)) :]
    else:
        at = data.draw(st.integers(0, len(made) * 8 - 1))
        broken[at // 8] ^= 1 << at % 8
    path = put(tmp_path_factory.mktemp("x") / f"n.{suffix}", bytes(broken))
    try:
        found = whole(path)
    except files.SourceError:
        return
    if suffix != "tar":
        assert found == CONTENTS
    # A plain tar has checksums of its headers only, not of its files. So names, sizes and the number of files are safe.
    assert {name: len(content) for name, content in found.items()} == {n: len(c) for n, c in CONTENTS.items()}
    assert subprocess.run(["tar", "-tf", path], check=False, capture_output=True).returncode == 0
    tested = {"tar.gz": "gzip", "tar.bz2": "bzip2", "tar.xz": "xz", "tar.zst": "zstd"}.get(suffix)
    if tested and shutil.which(tested):
        with path.open("rb") as stream:
            assert subprocess.run([tested, "-t"], check=False, stdin=stream, capture_output=True).returncode == 0


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        (header("a.avro", 0, b"2"), "a link"),
        (header("a.avro", 0, b"1"), "a link"),
        (header("a.avro", 0, b"3"), "a link or a device"),
        (header("a.avro", 0, b"6"), "a link or a device"),
        (header("a.avro", 3, b"S", _482=b"\0") + block(b"abc"), "sparse"),
        (header("a.avro", 3, b"S", _257=b"ustar  \0", _482=b"\1") + bytes(512) + block(b"abc"), "sparse"),
        (header("@", 21, b"x") + block(b"21 GNU.sparse.major=1"[:20] + b"\n") + FILE, "sparse"),
        (header("a.avro", 3, b"M") + block(b"abc"), "several volumes"),
        (header("a.avro", 3, b"Z") + block(b"abc"), "unknown type"),
        (header("../a.avro", 3) + block(b"abc"), "leads out"),
        (header("/a.avro", 3) + block(b"abc"), "leads out"),
        (header("@", 14, b"x") + block(b"14 path=a\0b.a\n"[:13] + b"\n") + FILE, "NUL"),
        (header("@", 5000, b"L") + block(b"n" * 5000) + FILE, "its name has 5000 bytes"),
        (header("a.avro", b"\x80" + bytes(8) + b"\x50\0\0") + bytes(0x500000), "a packet has at most"),
    ],
)
@pytest.mark.parametrize("suffix", ["tar", "tar.gz"])
def test_a_strange_member_is_refused_alone(tmp_path, member, reason, suffix):
    data = header("before.avro", 3) + block(b"xyz") + member + header("z.avro", 3) + block(b"xyz") + END
    path = put(tmp_path / f"n.{suffix}", PACK[suffix](data))
    assert whole(path) == {"before.avro": b"xyz", "z.avro": b"xyz"}
    (refused,) = [item for item in files.read(path) if item.refused]
    assert reason in refused.refused


def test_a_pax_size_wins_over_the_headers(tmp_path):
    big = header("@", 10, b"x") + block(b"10 size=3\n") + header("a.avro", 0) + block(b"abc")
    everywhere = header("@", 14, b"g") + block(b"14 comment=ab\n")
    assert whole(put(tmp_path / "n.tar", everywhere + big + FILE + END)) == {"a.avro": b"abc"}


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("a.tar", gzip.compress(b"x"), "compressed with gzip, and its name does not say so"),
        ("a.tar.gz", tar(), "not compressed with gzip"),
        ("a.tar.gz", lzma.compress(tar()), "compressed with xz"),
        ("a.tar", b"PK\x03\x04" + bytes(600), "a zip archive"),
        ("a.tar", b"Obj\x01" + bytes(600), "one Avro file"),
        ("a.tar.gz", b"Obj\x01" + bytes(600), "one Avro file"),
        ("a.tar", b"", "empty file"),
        ("a.tar.zst", b"", "empty file"),
        ("a.tar.gz", b"<html>", "not compressed with gzip"),
    ],
)
def test_a_name_that_does_not_say_what_a_file_is_is_told(tmp_path, name, data, told):
    path = put(tmp_path / name, data)
    for look in (files.check, files.read):
        with pytest.raises(files.SourceError, match="not a readable archive") as error:
            look(path)
        assert told in str(error.value)


@pytest.mark.parametrize(
    ("suffix", "pack"), [("gz", gzip.compress), ("BZ2", bz2.compress), ("xz", lzma.compress), ("zst", zstd)]
)
def test_a_packet_may_be_compressed_by_itself(tmp_path, suffix, pack):
    packet = b"Obj\x01 and so on"
    put(tmp_path / f"a.avro.{suffix}", pack(packet))
    put(tmp_path / f"b.avro.{suffix}", pack(packet)[:-3])
    put(tmp_path / f"c.avro.{suffix}", packet)
    put(tmp_path / f"d.avro.{suffix}", pack(bytes(5_000_000)))
    put(tmp_path / "e.avro", pack(packet))
    found = {item.name[0]: item for item in files.read(tmp_path)}
    assert (found["a"].data, found["a"].refused) == (packet, "")
    assert found["b"].refused
    assert (found["c"].data, found["c"].refused) == (packet, "")
    assert "more than" in found["d"].refused
    assert "compressed with" in found["e"].refused
    assert whole(put(tmp_path / "n.tar", tar({f"a.avro.{suffix}": pack(packet)}))) == {f"a.avro.{suffix}": packet}


def test_archives_within_an_exposure_are_told(tmp_path):
    for name, data in {"a.tar": tar(), "b.tar.gz": gzip.compress(tar()), "c.zip": b"PK\x03\x04"}.items():
        put(tmp_path / name, data)
    reasons = {item.name: item.refused for item in files.read(tmp_path)}
    assert "a tar archive" in reasons["a.tar"]
    assert "compressed with gzip" in reasons["b.tar.gz"]
    assert "zip" in reasons["c.zip"]


LEFTOVERS = ("._a.avro", "d/._b.avro", ".DS_Store", "d/.DS_Store", "__MACOSX/d/c.avro", "PaxHeaders.12/a.avro")


@pytest.mark.parametrize("suffix", ["tar", "tar.gz"])
def test_what_macos_leaves_is_passed_over_with_a_word_unless_it_is_a_packet(tmp_path, suffix):
    members = dict.fromkeys(LEFTOVERS, b"\x00\x05\x16\x07 finder") | {"a.avro": b"Obj\x01a", "._packet": b"Obj\x01b"}
    path = put(tmp_path / f"n.{suffix}", PACK[suffix](tar(members)))
    items = list(files.read(path))
    assert {item.name for item in items if item.passed} == set(LEFTOVERS)
    assert not [item for item in items if item.refused]
    assert dict(files.packets(path)) == {"a.avro": b"Obj\x01a", "._packet": b"Obj\x01b"}


@pytest.mark.parametrize("suffix", list(PACK)[1:])
def test_a_bomb_takes_no_memory(tmp_path, suffix):
    size = 1 << 28  # of zeros: packed a thousand to ten thousand times smaller
    data = [header("a.avro", b"%011o\0" % size), *[bytes(1 << 20)] * (size >> 20), END]
    packers = {
        "tar.gz": lambda: zlib.compressobj(1, zlib.DEFLATED, 31),
        "tar.bz2": bz2.BZ2Compressor,
        "tar.xz": lambda: lzma.LZMACompressor(preset=0),
        "tar.zst": lambda: zstandard.ZstdCompressor().compressobj(),
    }
    packer = packers[suffix]()
    path = put(tmp_path / f"n.{suffix}", b"".join([*map(packer.compress, data), packer.flush()]))
    tracemalloc.start()
    items = list(files.read(path))
    files.check(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "a packet has at most" in items[0].refused
    assert peak < 64_000_000


def test_a_name_for_every_compression_is_known_to_be_one():
    assert {compression.kind_of(PACK[suffix](b"x")) for suffix in list(PACK)[1:]} == {"gzip", "bzip2", "xz", "zstd"}
    assert {kind for kind in files.ARCHIVES.values() if kind} == {"gzip", "bzip2", "xz", "zstd"}
