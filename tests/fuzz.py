"""Gives every command that reads files random input: it must exit with 0, 1 or 2, in bounded time and memory.

The same seed makes the same inputs, but for random markers in them. `tests/unit/test_fuzz.py` runs this for seconds. To
run it for an hour:

    .venv/bin/python tests/fuzz.py --seconds 3600 --seed 7

A finding is printed with its command line; its files are copied below --keep.
"""

from __future__ import annotations

import argparse
import bz2
import contextlib
import copy
import gzip
import io
import json
import lzma
import os
import random
import resource
import shutil
import signal
import sys
import tarfile
import tempfile
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fastavro

import packets
from zads import cli, schemas
from zads.packet import MAX_REASON, Packet, PacketError

MEMORY = 6_000_000_000  # bytes of address space; a command that needs more is a finding
SLOW_SECONDS = 30
SLOW_PACKET_SECONDS = 2.0
PACKETS_EACH = 5  # packets that are parsed after each command line
ODD_TEXTS = [
    "", "-", "--", "..", "/", "[/red]", "\x1b[31m", "\u202e", "\udcff", "é", "a" * 300, "a/b", "20181129", "20181399",
    "٢٠١٨١١٢٩", "-1", "0", "1e9", "nan", "9" * 30, "%s{0}", "\n", "null", "4.02", "*", "~", "$(x)",
]  # fmt: skip
ODD_VALUES: list[Any] = [
    None, True, 0, -1, 1.5, 10**400, "", "x", [], {}, [[]], {"": {}}, "null", "int", ["null"], ["null", "null"],
    "alert",     "ztf.alert", {"type": "record"}, {"type": "array", "items": "null"}, {"type": "map", "values": "int"},
    {"type": "fixed", "name": "f", "size": 2**62}, {"type": "enum", "name": "e", "symbols": ["a"]},
    {"type": "long", "logicalType": "timestamp-micros"}, {"type": {"type": {"type": "int"}}}, "\udcff", "\0",
]  # fmt: skip


class Finding(Exception):
    """Something that a command must not do."""


class Timeout(BaseException):
    """A command does not end in time."""


def bases() -> list[bytes]:
    """Packets of every form, of a new schema, and compressed ones."""
    made = [packets.encode(packets.make_record(form.version, definition=form.definition), definition=form.definition)
            for form in schemas.forms()]  # fmt: skip
    definition = copy.deepcopy(schemas.get("4.02").definition) | {"version": "4.03"}
    definition["fields"] += [
        {"name": "notes", "type": {"type": "map", "values": "string"}},
        {"name": "state", "type": {"type": "enum", "name": "states", "symbols": ["a", "b"]}},
        {"name": "more", "type": {"type": "array", "items": ["null", {"type": "fixed", "name": "md5", "size": 4}]}},
    ]
    record = packets.make_record("4.02", definition=definition) | {"schemavsn": "4.03"}
    made.append(packets.encode(record, definition=definition))
    out = io.BytesIO()
    fastavro.writer(out, schemas.get("3.3").definition, [packets.make_record("3.3")], codec="deflate")
    return [*made, out.getvalue()]


class Inputs:
    """Makes files that resemble real input, with one random generator."""

    def __init__(self, chance: random.Random, root: Path) -> None:
        self.chance, self.root = chance, root
        self.packets = bases()
        self.number = 0

    def place(self, suffix: str = "") -> Path:
        self.number += 1
        return self.root / f"{self.number}{suffix}"

    def file(self, data: bytes, suffix: str = "") -> Path:
        path = self.place(suffix)
        path.write_bytes(data)
        return path

    def noise(self, most: int = 2_000) -> bytes:
        return self.chance.randbytes(self.chance.randrange(most))

    def damaged(self, data: bytes) -> bytes:
        """The same bytes with a few changed, inserted, removed or doubled."""
        coded = bytearray(data)
        for _ in range(self.chance.choice([0, 1, 1, 1, 2, 5, 40])):
            at = self.chance.randrange(len(coded) + 1)
            some = self.chance.randrange(1, 40)
            kind = self.chance.randrange(7)
            if kind == 0:
                coded[at : at + 1] = self.chance.randbytes(1)
            elif kind == 1:
                coded[at:at] = self.chance.randbytes(some)
            elif kind == 2:
                del coded[at : at + some]
            elif kind == 3:
                del coded[at:]
            elif kind == 4:
                coded[at:at] = coded[at : at + self.chance.randrange(1, 4000)]
            elif kind == 5:
                coded[at : at + 1] = _number(self.chance.choice([-1, -(2**63), 2**63 - 1, 2**31, 2**40, 64, 10**6]))
            else:
                coded[at : at + 10] = b"\xff" * self.chance.choice([1, 9, 10, 11])
        return bytes(coded)

    def packet(self) -> bytes:
        """A packet, in most cases an invalid one."""
        data = self.chance.choice(self.packets)
        kind = self.chance.randrange(8)
        if kind < 4:
            return self.damaged(data)
        if kind < 6:
            return self.with_header(data)
        if kind == 6:
            record = packets.make_record(self.chance.choice(["3.2", "4.02"]), history=self.chance.choice([0, 1, 30]))
            record["objectId"] = self.text().encode("utf-8", "replace").decode()
            record["candidate"]["jd"] = self.chance.choice(
                [packets.JD, 0.0, -1e300, float("nan"), float("inf"), 2_469_999.5]
            )
            record["candid"] = record["candidate"]["candid"] = self.chance.choice(
                [1, 2**63 - 1, -(2**63), 0, 2**53 + 1]
            )
            return packets.encode(record)
        return self.chance.choice(
            [self.noise(), b"", b"Obj\x01" + self.noise(), gzip.compress(data), b"\0\0\0\0\x01" + data]
        )

    def with_header(self, data: bytes) -> bytes:
        """A packet with a changed header; its record is unchanged, or unpacks to very many bytes."""
        reader = fastavro.reader(io.BytesIO(data))
        text = self.schema(json.loads(reader.metadata["avro.schema"]))
        metadata = {"avro.schema": text, "avro.codec": reader.metadata.get("avro.codec", "null").encode()}
        sync = data[-16:]
        block = data[data.index(sync) + 16 :]
        kind = self.chance.randrange(8)
        if kind == 0:
            metadata["avro.codec"] = self.chance.choice(
                [b"", b"snappy", b"zstandard", b"\xff", b"deflate", b"null", b"xz"]
            )
        if kind == 1:
            metadata[self.chance.choice(["", "x", "avro.sync", "\n"])] = self.noise(50)
        if kind == 2:
            packer = zlib.compressobj(wbits=-15)
            packed = packer.compress(bytes(self.chance.choice([10**3, 10**7, 10**8]))) + packer.flush()
            metadata["avro.codec"] = b"deflate"
            block = b"\x02" + _number(len(packed)) + packed + sync
        entries = b"".join(_sized(name.encode()) + _sized(value) for name, value in metadata.items())
        count = self.chance.choice([len(metadata)] * 9 + [-len(metadata), 2**40])
        return b"Obj\x01" + _number(count) + entries + b"\0" + sync + block

    def schema(self, definition: Any) -> bytes:
        """A schema with something wrong in it."""
        kind = self.chance.randrange(10)
        if kind == 0:
            text = "[" * self.chance.choice([100, 10_000, 200_000])
        elif kind == 1:
            text = _deep(self.chance.choice([10, 30, 400, 3_000]), self.chance.randrange(3))
        elif kind == 2:
            fields = [{"name": f"f{n}", "type": "int"} for n in range(self.chance.choice([10, 5_000, 9_000]))]
            text = json.dumps(definition | {"fields": fields})
        elif kind == 3:
            text = json.dumps(definition).replace('"type"', '"type": "int", "type"', 1)
        elif kind == 4:
            text = self.damaged(json.dumps(definition).encode()).decode("utf-8", "replace")
        else:
            self._change(definition, self.chance.choice([1, 1, 2, 5]))
            text = json.dumps(definition)
        return text.encode("utf-8", "replace")

    def _change(self, node: Any, times: int) -> None:
        for _ in range(times):
            here = node
            while isinstance(here, (dict, list)) and here:
                key = self.chance.choice(list(here)) if isinstance(here, dict) else self.chance.randrange(len(here))
                below = here[key]
                if not isinstance(below, (dict, list)) or not below or self.chance.random() < 0.15:
                    self._change_here(here, key)
                    break
                here = below

    def _change_here(self, here: Any, key: Any) -> None:
        kind = self.chance.randrange(5)
        if kind == 0:
            del here[key]
        elif kind == 1 and isinstance(here, list):
            here.insert(key, copy.deepcopy(here[key]))
        elif kind == 2 and isinstance(here, list):
            self.chance.shuffle(here)
        elif kind == 3 and isinstance(here, dict):
            here[self.chance.choice(["type", "name", "logicalType", "default", "aliases", "namespace", "x"])] = here[
                key
            ]
        else:
            here[key] = copy.deepcopy(self.chance.choice(ODD_VALUES))

    def tar(self, pack: Callable[[bytes], bytes] = bytes) -> bytes:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=self.chance.choice([0, 1, 2])) as archive:
            for number in range(self.chance.randrange(4)):
                member = tarfile.TarInfo(f"{number}.avro")
                data = self.packet()
                if self.chance.random() < 0.2:
                    member.name = self.chance.choice(ODD_TEXTS).encode("utf-8", "replace").decode()[:90] or "x"
                    member.type = self.chance.choice(
                        [tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.FIFOTYPE, tarfile.REGTYPE]
                    )
                member.size = len(data) if member.isreg() else 0
                archive.addfile(member, io.BytesIO(data) if member.isreg() else None)
        return self.damaged(pack(self.damaged(out.getvalue())))

    def source(self) -> Path:
        """A place where packets might be: a file, an archive, a directory, a device."""
        kind = self.chance.randrange(12)
        if kind < 5:
            return self.file(self.packet(), ".avro")
        if kind < 9:
            suffix, pack = self.chance.choice(
                [(".tar", bytes), (".tar.gz", gzip.compress), (".tgz", gzip.compress), (".tar.bz2", bz2.compress),
                 (".tar.xz", lzma.compress), (".tar.zst", bytes), (".avro.gz", gzip.compress), (".TAR", bytes)]
            )  # fmt: skip
            return self.file(self.tar(pack), suffix)
        if kind == 9:
            directory = self.place(self.chance.choice(["", ".tar", ".avro", "\udcff"]))
            directory.mkdir()
            for number in range(self.chance.randrange(3)):
                (directory / f"{number}{self.chance.choice(ODD_TEXTS[4:8])}".replace("/", "_")).write_bytes(
                    self.packet()
                )
            self.special(directory / "special")
            return directory
        return self.special(self.place(self.chance.choice(["", ".tar", ".tar.gz", ".avro"])))

    def special(self, path: Path) -> Path:
        """Something that is not a regular file, or does not exist."""
        kind = self.chance.randrange(6)
        if kind == 0:
            os.mkfifo(path)
        elif kind == 1:
            path.symlink_to(path)
        elif kind == 2:
            path.symlink_to(self.chance.choice(["/dev/zero", "/dev/full", "/nowhere", "/"]))
        elif kind == 3:
            return Path(
                self.chance.choice(
                    ["/dev/null", "/dev/zero", "/proc/self/mem", "/proc/self/environ", "/dev/fd", ".", ""]
                )
            )
        elif kind == 4:
            with path.open("wb") as stream:
                stream.truncate(self.chance.choice([0, 5_000_000, 10**12]))
        return path

    def text(self) -> str:
        return self.chance.choice(ODD_TEXTS).replace("\0", "")

    def document(self, sound: Any, dump: Callable[[Any], str]) -> Path:
        """A configuration file, valid or damaged; `sound` is its valid content."""
        kind = self.chance.randrange(8)
        if kind == 0:
            return self.special(self.place())
        if kind == 1:
            return self.file(self.noise())
        changed = copy.deepcopy(sound)
        if kind > 3:
            self._change(changed, self.chance.choice([1, 2]))
        text = dump(changed).encode("utf-8", "surrogatepass")
        return self.file(self.damaged(text) if kind in (2, 3, 4) else text)

    def properties(self) -> Path:
        """A Kafka client's properties; the last line makes them invalid, so that no broker is looked for."""
        sound = ["bootstrap.servers=127.0.0.1:1", "security.protocol=SASL_SSL", "group.id=a", "linger.ms=5"]
        path = self.document(sound, lambda lines: "\n".join(map(str, lines)) if isinstance(lines, list) else str(lines))
        if path.is_file() and not path.is_symlink() and self.root in path.parents:
            with path.open("ab") as stream:
                stream.write(b"\nno.such.property=1\n")
        return path

    def configuration(self) -> Path:
        """The configuration of a group of filters."""
        group = {
            "group": "fuzz", "programmes": [1],
            "filters": [{"name": "fast_riser", "owner": "alice", "group": "fuzz", "state": "active"}],
        }  # fmt: skip
        return self.document(group, lambda value: json.dumps(value))

    def filter_file(self) -> Path:
        """A filter, valid or damaged."""
        text = Path(schemas.__file__).with_name("filters").joinpath("builtin/fast_riser.py").read_bytes()
        return self.file(self.damaged(text), ".py")


def _deep(levels: int, kind: int) -> str:
    opening = ['{"type":"array","items":', '{"type":', '["null",'][kind]
    closing = ["}", "}", "]"][kind]
    inner = opening * levels + '"int"' + closing * levels
    return '{"type":"record","name":"ztf.alert","version":"4.03","fields":[{"name":"x","type":' + inner + "}]}"


def _number(value: int) -> bytes:
    value = (value << 1) ^ (value >> 63)
    coded = bytearray()
    while value >= 0x80:
        coded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*coded, value])


def _sized(value: bytes) -> bytes:
    return _number(len(value)) + value


def packet_verbs(inputs: Inputs) -> list[str]:
    verb = inputs.chance.choice(
        [["inspect"], ["inspect", "--json"], ["validate"], ["validate", "--new-schemas", "accept"]]
    )
    return ["packet", *verb, *(str(inputs.source()) for _ in range(inputs.chance.choice([1, 1, 2])))]


def simulate(inputs: Inputs) -> list[str]:
    words = ["simulate", "--visits", "1", "--alerts", "1"]
    for option in ("--night", "--schema", "--programme", "--seed"):
        if inputs.chance.random() < 0.4:
            words += [option, inputs.text()]
    return [*words, inputs.chance.choice(["--out", "--spool"]), str(inputs.source())]


def produce(inputs: Inputs) -> list[str]:
    words = ["produce", "--once", "--spool", str(inputs.source()), "--kafka", str(inputs.properties())]
    for option in ("--first-night", "--last-night", "--name"):
        if inputs.chance.random() < 0.2:
            words += [option, inputs.text()]
    return words


def worker(inputs: Inputs) -> list[str]:
    return ["worker", "--config", str(inputs.configuration()), "--kafka", str(inputs.properties())]


def filters(inputs: Inputs) -> list[str]:
    kind = inputs.chance.randrange(3)
    if kind == 0:
        return ["filter", "new", inputs.text(), "--directory", str(inputs.source())]
    place = inputs.chance.choice(["fast_riser", inputs.text(), str(inputs.filter_file()), str(inputs.source())])
    return ["filter", inputs.chance.choice(["test", "run"]), place, "--night", str(inputs.source())]


def cluster(inputs: Inputs) -> list[str]:
    one, other = str(inputs.properties()), str(inputs.properties())
    return inputs.chance.choice(
        [
            ["topics", "--kafka", one, "--night", inputs.text()],
            ["topics", "--kafka", one],
            ["audit", "--origin", one, "--public", other, "--night", inputs.chance.choice(["20181129", inputs.text()])],
            ["canary", "--origin", one, "--public", other],
            ["filter", "test", "fast_riser", "--night", "ztf_20181129_programid1", "--kafka", one],
        ]
    )


def words(inputs: Inputs) -> list[str]:
    verb = inputs.chance.choice([*cli.COMMANDS, inputs.text()])
    below = inputs.chance.choice(["", "inspect", "test", "list", "status", "exec", inputs.text()])
    some = [inputs.text() for _ in range(inputs.chance.randrange(3))]
    return (
        [word for word in (verb, below) if word] + some if verb not in ("lab", "demo", "warm") else [verb, "--nonsense"]
    )


def inventory(inputs: Inputs) -> list[str]:
    env = inputs.chance.choice(["fuzz", "fuzz", "nowhere", inputs.text()])
    return inputs.chance.choice(
        [["demo", "--env", env, "--night", inputs.text()], ["warm", "--env", env], ["lab", "status", env],
         ["lab", "logs", inputs.text(), "--env", env], ["demo", "--env", env, "--alerts", str(inputs.source())]]
    )  # fmt: skip


#: What is tried, and its share: commands that start processes are slow.
VERBS: list[tuple[Callable[[Inputs], list[str]], float]] = [
    (packet_verbs, 60), (simulate, 8), (produce, 10), (worker, 8), (cluster, 10), (words, 6), (filters, 1),
    (inventory, 0.3),
]  # fmt: skip


def try_once(words: list[str]) -> int:
    """Run one command line; returns its exit status. Raises Finding if it does something that no input may cause."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace") for _ in range(2))
    began = time.process_time()
    signal.signal(signal.SIGALRM, _end)
    signal.alarm(SLOW_SECONDS)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = cli.run(words)
    except Timeout:
        raise Finding(f"it did not end within {SLOW_SECONDS} s") from None
    except BaseException:
        raise Finding(traceback.format_exc()) from None
    finally:
        signal.alarm(0)
    errors = err.buffer.getvalue().decode() if not err.flush() else ""  # type: ignore[attr-defined]
    out.flush()
    if status not in (0, 1, 2):
        raise Finding(f"exit status {status}: {errors}")
    if "Traceback" in errors or "not enough memory" in errors:
        raise Finding(errors)
    last = errors.strip("\n").split("\n")[-1]
    if status == 1 and not out.buffer.getvalue() and not last.startswith("zads: "):  # type: ignore[attr-defined]
        raise Finding(f"exit status 1 without a word: {errors!r}")
    if status != 2 and not last.isprintable():
        raise Finding(f"it prints invisible characters: {last!r}")
    if time.process_time() - began > SLOW_SECONDS / 3:
        raise Finding(f"it took {time.process_time() - began:.0f} s")
    return status


def try_packet(data: bytes) -> bool:
    """Parse a packet; returns whether it was accepted. Raises Finding if it is slow or fastavro reads it otherwise."""
    began = time.process_time()
    try:
        packet = Packet.parse(data, admission=schemas.Admission(accepts=True))
    except PacketError as error:
        if not error.reason or len(error.reason) > MAX_REASON:
            raise Finding(f"a reason of {len(error.reason)} characters") from None
        return False
    except BaseException:
        raise Finding(traceback.format_exc()) from None
    finally:
        if (seconds := time.process_time() - began) > SLOW_PACKET_SECONDS:
            raise Finding(f"parsing took {seconds:.1f} s")
    try:
        (record,) = fastavro.reader(io.BytesIO(data))
        mine = packet.read(list(record))
    except BaseException:
        raise Finding(traceback.format_exc()) from None
    # fastavro makes its own objects of logical types.
    if b"logicalType" not in data and repr(mine) != repr(record):
        raise Finding("fastavro reads it otherwise")
    return True


def _end(*_: object) -> None:
    raise Timeout


def cases(inputs: Inputs) -> Iterator[list[str]]:
    """Command lines without end."""
    makers, weights = zip(*VERBS, strict=True)
    while True:
        (make,) = inputs.chance.choices(makers, weights)
        yield make(inputs)


def repository(root: Path) -> None:
    """A checkout with an invalid inventory, for the commands that read one."""
    (root / "inventories" / "fuzz").mkdir(parents=True)
    (root / "inventories" / "fuzz" / "hosts.yml").write_text("all: {hosts: {a: {ansible_host: '{{ nonsense }}'}}}\n")
    (root / "pyproject.toml").write_text("")
    ours = Path(__file__).parents[1]
    for name in (".venv", "ansible", "roles"):
        (root / name).symlink_to(ours / name)


def fuzz(seconds: float, seed: int, keep: Path | None, say: Callable[[str], None]) -> int:
    """Try command lines for some time; returns the number of findings."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for verb in cli.COMMANDS:
        cli.load(verb)  # so that imports do not count as time of a command
    findings = tried = 0
    ends: Counter[str] = Counter()
    until = time.monotonic() + seconds
    with tempfile.TemporaryDirectory(prefix="zads-fuzz-") as top:
        checkout, root = Path(top, "checkout"), Path(top, "files")
        root.mkdir()
        repository(checkout)
        os.chdir(checkout)
        inputs = Inputs(random.Random(seed), root)
        for words in cases(inputs):
            if time.monotonic() > until:
                break
            tried += 1
            try:
                ends[f"{words[0] if words and words[0] in cli.COMMANDS else '...'} {try_once(words)}"] += 1
            except Finding as found:
                findings += 1
                say(f"FINDING {findings} (seed {seed}, case {tried}): zads {' '.join(map(ascii, words))}\n{found}\n\n")
                if keep is not None:
                    shutil.copytree(
                        root, keep / f"{seed}-{tried}", symlinks=True, ignore_dangling_symlinks=True, ignore=_specials
                    )
            _empty(root)
            for _ in range(PACKETS_EACH):
                data = inputs.packet()
                try:
                    ends[f"packets {'accepted' if try_packet(data) else 'refused'}"] += 1
                except Finding as found:
                    findings += 1
                    say(f"FINDING {findings} (seed {seed}, after {tried}): a packet of {len(data)} bytes\n{found}\n\n")
                    if keep is not None:
                        (keep / f"{seed}-{tried}-{findings}.packet").write_bytes(data)
    say("".join(f"{end}: {number}\n" for end, number in sorted(ends.items())))
    say(f"{tried} command lines, {findings} findings (seed {seed})\n")
    return findings


def _specials(directory: str, names: list[str]) -> list[str]:
    """Files that cannot be copied, or are far too large."""
    paths = {name: Path(directory, name) for name in names}
    return [name for name, path in paths.items() if not path.is_dir() and (not path.is_file() or _size(path) > 10**8)]


def _size(path: Path) -> int:
    return path.stat().st_size


def _empty(root: Path) -> None:
    for path in root.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="copy the files of findings here")
    given = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)
    sys.exit(1 if fuzz(given.seconds, given.seed, given.keep, sys.stdout.write) else 0)
