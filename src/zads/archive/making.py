"""Archives a night: the steps that `zads.archive` lists."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import structlog
from confluent_kafka import KafkaException, Message

from zads import kafka, ledger, names, reading, wholefile
from zads.archive import tarball, whole
from zads.archive.catalogue import Catalogue, Ends
from zads.archive.contents import Contents
from zads.archive.record import Archive, member, parse_member
from zads.archive.room import Room
from zads.archive.shelf import MOST_CANDID, Shelf
from zads.archive.whole import Marks, Stream
from zads.errors import ZadsError, some
from zads.packet import Packet, PacketError
from zads.site import nights
from zads.site.policy import Policy, Site

_BEAT_RECORDS = 50
_NAMED = 3  # candids that a message names

_log = structlog.get_logger("zads.archive")


class NotWholeError(ZadsError):
    """The records of a night are not what the ledger or the other site say. It is not archived."""


@dataclass(frozen=True)
class Staged:
    """What has been prepared of a topic: its archive, or None if it has nothing to archive that is not archived.

    `ends`: how far the topic was read; `marks`: the alerts of its archive; `stream`: the records that were read.
    """

    topic: str
    ends: Ends
    archive: Archive | None
    marks: Marks
    stream: Stream


class Maker:
    """Archives nights into a catalogue.

    `sites`: properties of a client at each site; `beat` is called from time to time. Kafka's errors become ZadsError.
    """

    def __init__(
        self,
        sites: Mapping[Site, Mapping[str, str]],
        catalogue: Catalogue,
        beat: Callable[[], object],
        *,
        room: Room | None = None,
        clock: Callable[[], float],
    ) -> None:
        self._sites = {site: {**conf, "group.id": names.ARCHIVE} for site, conf in sites.items()}
        self._catalogue, self._beat, self._clock = catalogue, beat, clock
        self._room = room or Room(catalogue.directory)

    def topics(self) -> Mapping[str, Ends]:
        """The nights' topics at the origin, and how far each reaches (step 1)."""
        with self._answers("origin") as conf:
            known = kafka.admin(conf).list_topics(timeout=reading.ANSWER_SECONDS).topics
            ends = reading.committed_ends(conf, reading.existing(conf, filter(nights.night_of, known)))
        found: dict[str, dict[int, int]] = {}
        for (topic, number), end in ends.items():
            found.setdefault(topic, {})[number] = end
        return found

    def make(self, night: str, policy: Policy, *, incomplete: bool = False) -> list[Archive]:
        """Archive a night, or what has come since it was archived. Returns the archives that were made.

        `incomplete`: archive what there is, although alerts are missing that the ledger knows.
        Raises NotWholeError if the night is not whole, and ZadsError if it cannot be read or written.
        """
        topics = self.topics()
        ends = {topic: one for topic, one in topics.items() if nights.night_of(topic) == night}
        if not ends:
            raise ZadsError(f"the origin has no topic of the night {night}", hint="zads topics lists what there is")
        staged = [self._stage(topic, one) for topic, one in sorted(ends.items())]
        # Step 5.
        lost = self._check(night, staged, policy, incomplete=incomplete)
        # Step 6.
        made = []
        for one in staged:
            if one.archive is not None:
                archive = replace(one.archive, missing=lost)
                public = archive.programme in policy.allowed("public")
                self._catalogue.publish(archive, self._file(one.topic), public=public)
                _log.info(
                    "archived", archive=archive.stem, packets=archive.files, size=archive.size, added=archive.added
                )
                made.append(archive)
            self._catalogue.note_ends(one.topic, one.ends, topics)
            self._forget(one.topic)
        return made

    # Steps 2 to 4: a topic

    def _stage(self, topic: str, ends: Ends) -> Staged:
        if (known := self._resume(topic, ends)) is not None:
            return known
        before, stream = self._catalogue.newest(topic), Stream()
        with Shelf(self._catalogue.work, self._room) as shelf:
            if before is not None:
                self._shelve_archive(shelf, before)
            self._shelve_topic(shelf, topic, ends, stream)
            entries = shelf.entries()
            held = whole.marks(entries)
            archive = None
            if len(entries) > (before.files if before else 0):
                _log.info("archiving", topic=topic, packets=len(entries))
                archive = self._write(topic, shelf, before)
        staged = Staged(topic, ends, archive, held, stream)
        self._remember(staged)
        return staged

    def _shelve_archive(self, shelf: Shelf, archive: Archive) -> None:
        path, found = self._catalogue.path(archive), Contents()
        for name, data in tarball.read(path, self._beat):
            if (parsed := parse_member(name)) is None:
                raise tarball.DamagedArchiveError(f"{path}: {name!r} is not the name of an alert's file")
            found.add(parsed[0], len(data), shelf.add(*parsed, data, recent=False))
        if found.digest != archive.content:
            raise tarball.DamagedArchiveError(
                f"{path} does not hold what its description says",
                hint="docs/runbooks/archive-nights.md says what to do about a damaged archive",
            )

    def _shelve_topic(self, shelf: Shelf, topic: str, ends: Ends, stream: Stream) -> None:
        with self._answers("origin") as conf:
            until = {(topic, number): end for number, end in ends.items()}
            for message in reading.read_to_end(conf, until, group=names.ARCHIVE):
                headers, data = reading.headers(message), message.value() or b""
                stream.add(message.key(), data, headers)
                version = _version(headers.get(names.HEADER_VERSION), message)
                recent = message.timestamp()[1] / 1000 > self._clock() - whole.RECENT_SECONDS
                shelf.add(_candid(data, message), version, data, recent=recent)
                if stream.records % _BEAT_RECORDS == 0:
                    self._beat()

    def _write(self, topic: str, shelf: Shelf, before: Archive | None) -> Archive:
        """Steps 3 and 4: write the packets of a shelf as an archive, and read it back."""
        night, programme = names.parse_topic(topic) or ("", 0)
        path, found, candids = self._file(topic), Contents(), 0

        def packets() -> Iterator[tuple[str, bytes]]:
            nonlocal candids
            last = 0
            for one in shelf:
                found.add(one.candid, len(one.data), one.sha256)
                candids, last = candids + (one.candid != last), one.candid
                yield member(one.candid, one.version), one.data

        path.unlink(missing_ok=True)
        size, sha256 = tarball.write(path, packets(), nights.begin(night), self._room, self._beat)
        self._read_back(path, shelf, sha256)
        return Archive(
            night=night, programme=programme, version=before.version + 1 if before else 1, alerts=candids,
            files=found.packets, unpacked=found.size, size=size, sha256=sha256, content=found.digest,
            made=_utc(self._clock()), added=found.packets - before.files if before else 0,
        )  # fmt: skip

    def _read_back(self, path: Path, shelf: Shelf, sha256: str) -> None:
        """Compare an archive with the digests that its packets had when they were read. Raises DamagedArchiveError."""
        wanted = shelf.digests()
        for name, data in tarball.read(path, self._beat):
            one = next(wanted, None)
            if one is None or name != member(one.candid, one.version) or tarball.digest_of(data) != one.sha256:
                raise tarball.DamagedArchiveError(f"{path.name}: {name} is not what was written", hint=_DISK)
        if next(wanted, None) is not None or tarball.sha256(path, self._beat) != sha256:
            raise tarball.DamagedArchiveError(f"{path.name} is not what was written", hint=_DISK)

    # Step 5: the night

    def _check(self, night: str, staged: Collection[Staged], policy: Policy, *, incomplete: bool) -> int:
        """Check that a night is whole. Returns how many of its alerts are missing. Raises NotWholeError."""
        held = [one.marks for one in staged]
        with self._answers("origin") as conf:
            known = ledger.alerts_of_night(conf, names.ARCHIVE, night, self._beat)
        lost, strange = whole.missing(known, held), whole.unknown(known, held)
        if lost and not incomplete:
            raise NotWholeError(
                f"{night}: {len(lost)} alerts of the ledger are not at the origin ({_some(lost)})",
                hint="zads trace follows one of them; if they have expired: make archive NIGHT=… INCOMPLETE=1",
            )
        if strange:
            raise NotWholeError(
                f"{night}: {len(strange)} alerts at the origin are not in the ledger ({_some(strange)})",
                hint="somebody but the producer has written to the night's topics, or changed bytes: zads trace",
            )
        for one in staged:
            if names.parse_topic(one.topic)[1] in policy.allowed("public"):  # type: ignore[index]  # it is a night's
                self._compare(one, incomplete=incomplete)
        return len(lost)

    def _compare(self, one: Staged, *, incomplete: bool) -> None:
        with self._answers("public") as conf:
            public = whole.at_public(conf, names.ARCHIVE, one.topic, self._beat)
        if public is None or (public != one.stream and not incomplete):
            found = "no such topic" if public is None else f"{public.records} records"
            raise NotWholeError(
                f"{one.topic}: the origin has {one.stream.records} records, the public site has {found}"
                + (", not all of them the same" if public and public.records == one.stream.records else ""),
                hint="make verify says how far the mirror is behind; zads audit compares the sites",
            )

    # What has been prepared

    def _file(self, topic: str) -> Path:
        return self._catalogue.work / f"{topic}.tar.gz"

    def _remember(self, staged: Staged) -> None:
        """Note on disk what has been prepared, so that a run that is interrupted later need not do it again."""
        np.save(self._catalogue.work / f"{staged.topic}.npy", staged.marks)
        known = {
            "ends": {str(number): end for number, end in staged.ends.items()},
            "archive": staged.archive.as_json() if staged.archive else None,
            "records": staged.stream.records,
            "digest_sum": str(staged.stream.digest_sum),
        }
        wholefile.write(self._catalogue.work / f"{staged.topic}.json", json.dumps(known) + "\n")

    def _resume(self, topic: str, ends: Ends) -> Staged | None:
        """What an interrupted run has prepared of a topic, if nothing has come since then."""
        try:
            known: Any = json.loads(wholefile.read(self._catalogue.work / f"{topic}.json"))
            if {int(number): end for number, end in known["ends"].items()} != ends:
                return None
            archive = None
            if known["archive"] is not None:
                archive = Archive.of_json(json.dumps(known["archive"]).encode(), topic)
                before = self._catalogue.newest(topic)
                if archive.version != (before.version if before else 0) + 1:
                    return None
                if tarball.sha256(self._file(topic), self._beat) != archive.sha256:
                    return None
            held = np.load(self._catalogue.work / f"{topic}.npy", allow_pickle=False)
            return Staged(topic, ends, archive, held, Stream(int(known["records"]), int(known["digest_sum"])))
        except (OSError, ValueError, TypeError, KeyError, AttributeError, ZadsError):
            return None

    def _forget(self, topic: str) -> None:
        for suffix in (".json", ".npy", ".tar.gz"):
            (self._catalogue.work / f"{topic}{suffix}").unlink(missing_ok=True)

    def _answers(self, site: Site) -> _Answers:
        return _Answers(site, self._sites[site])


_DISK = "the disk lies, or is failing: look at its health before you archive again"


class _Answers:
    """A client's properties at a site; errors of the site within the body become ZadsError."""

    def __init__(self, site: Site, conf: Mapping[str, str]) -> None:
        self._site, self._conf = site, conf

    def __enter__(self) -> Mapping[str, str]:
        return self._conf

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, KafkaException):
            failed = kafka.failure(self._conf, error.args[0])
            raise ZadsError(f"{self._site} cannot be read: {failed.message}", hint=failed.hint) from error
        if isinstance(error, TimeoutError):
            raise ZadsError(f"{self._site} cannot be read: no answer in time", hint="is the site up?") from error


def _candid(data: bytes, message: Message) -> int:
    try:
        candid = Packet.trusted(data).candid
    except PacketError as error:
        raise NotWholeError(f"{_place(message)} holds no packet: {error}", hint="who wrote it? zads trace") from error
    if not 0 < candid <= MOST_CANDID:
        raise NotWholeError(f"{_place(message)} has the candid {candid}")
    return candid


def _version(header: bytes | None, message: Message) -> int:
    text = (header or b"1").decode(errors="replace")
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:6]) <= 99_999:
        raise NotWholeError(f"{_place(message)} has the version {text!r:.40}")
    return int(text)


def _place(message: Message) -> str:
    return f"{message.topic()}, partition {message.partition()}, offset {message.offset()}"


def _some(candids: Iterable[int]) -> str:
    return f"candid {some(list(map(str, candids)), _NAMED)}"


def _utc(moment: float) -> str:
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).isoformat(timespec="seconds")
