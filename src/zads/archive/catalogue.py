"""Which archives there are, and where their files lie.

    DIRECTORY/public/   the programmes that may be at the public site: all that a server may serve
    DIRECTORY/private/  the other programmes
    DIRECTORY/work/     what is being made; nothing in it is an archive

An archive has three files: ``STEM.tar.gz``, ``STEM.tar.gz.sha256`` and ``STEM.json``. The last one is written last:
with it the archive exists. A file does not change once it has its name. A new version of a night has other names, and
the files of the one before are removed when the index names the new one.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import structlog

from zads import names, wholefile
from zads.archive import index
from zads.archive.record import Archive, parse_stem
from zads.errors import ZadsError

_SUFFIXES = (".json", ".tar.gz.sha256", ".tar.gz")  # in the order in which an archive ends
_MODES = {"public": 0o644, "private": 0o640}

Ends = Mapping[int, int]
"""The end (offset) of each partition of a topic."""

_log = structlog.get_logger("zads.archive")


class Catalogue:
    """The archives below a directory, whose parts are made if they are missing.

    Raises OSError where the disk fails, ZadsError if a file does not describe an archive.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.work = directory / "work"
        for path, mode in ((directory / "public", 0o755), (directory / "private", 0o750), (self.work, 0o750)):
            if not path.is_dir():
                path.mkdir(parents=True)
                path.chmod(mode)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Alone at work in this directory during the body. Raises ZadsError if another program is."""
        with (self.work / "lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ZadsError(
                    f"another run is at work in {self.directory}",
                    hint="wait for it: the service archives one night after the other (journalctl -u zads-archive)",
                ) from None
            yield

    # What there is

    def archives(self, shelf: str | None = None) -> list[Archive]:
        """The newest version of each archive (of those in ``public`` or in ``private``), the newest night first."""
        found: dict[str, Archive] = {}
        for path in self._records(shelf):
            one = Archive.of_json(wholefile.read(path), str(path))
            if one.stem == path.stem and one.version > (known.version if (known := found.get(one.topic)) else 0):
                found[one.topic] = one
        return sorted(found.values(), key=lambda one: (one.night, -one.programme), reverse=True)

    def newest(self, topic: str) -> Archive | None:
        """The newest archive of a topic; None if it has none."""
        return next((one for one in self.archives() if one.topic == topic), None)

    def path(self, archive: Archive) -> Path:
        """Where an archive's file is."""
        public = self.directory / "public" / archive.file
        return public if public.exists() else self.directory / "private" / archive.file

    def _records(self, shelf: str | None = None) -> list[Path]:
        places = [shelf] if shelf else list(_MODES)
        return [
            path
            for place in places
            for path in sorted((self.directory / place).glob("*.json"))
            if parse_stem(path.stem) is not None
        ]

    # Changes

    def publish(self, archive: Archive, made: Path, *, public: bool) -> None:
        """Give the file of an archive its name, with its checksum and its description."""
        shelf = "public" if public else "private"
        place, mode = self.directory / shelf, _MODES[shelf]
        made.chmod(mode)
        made.replace(place / archive.file)
        for suffix, text in ((".tar.gz.sha256", archive.checksum()), (".json", archive.text())):
            path = wholefile.write(place / f"{archive.stem}{suffix}", text)
            path.chmod(mode)
            wholefile.sync(path)
            wholefile.sync(place)
        self.write_index()
        self._remove_older(archive)

    def _remove_older(self, archive: Archive) -> None:
        for path in self._records():
            topic, version = parse_stem(path.stem) or ("", 0)
            if topic == archive.topic and version < archive.version:
                self._remove(path)

    def remove(self, archives: Collection[Archive]) -> None:
        """Remove archives: first from the index, then their files."""
        if archives:
            self.write_index(without={one.stem for one in archives})
            for path in self._records():
                if parse_stem(path.stem) is not None and any(path.stem == one.stem for one in archives):
                    self._remove(path)

    def withdraw(self, public: Collection[int]) -> None:
        """Take the archives of programmes that may not be at the public site away from there."""
        wrong = [one for one in self.archives("public") if one.programme not in public]
        for one in wrong:
            _log.warning("archive withdrawn from the public directory", archive=one.stem)
            # The description goes last: it says that the other files belong to an archive.
            for suffix in reversed(_SUFFIXES):
                path = self.directory / "public" / f"{one.stem}{suffix}"
                if path.exists():
                    path.chmod(_MODES["private"])
                    path.replace(self.directory / "private" / path.name)
        if wrong:
            self.write_index()

    def tidy(self) -> None:
        """Remove what an interrupted run left: files without a description, and those with a temporary name."""
        described = {path.stem for path in self._records()}
        for path in (path for shelf in _MODES for path in (self.directory / shelf).iterdir()):
            stem = path.name.partition(".tar.gz")[0]
            nameless = path.name.startswith(".") and path.name.endswith(".part")
            if nameless or (stem != path.name and parse_stem(stem) and stem not in described):
                _log.warning("leftover of an interrupted run removed", file=str(path))
                path.unlink()
        for topic in {one.topic: one for one in self.archives()}.values():
            self._remove_older(topic)

    def forget_prepared(self, topics: Collection[str]) -> None:
        """Remove what was prepared of topics that are not among these: Kafka has removed them."""
        for path in self.work.iterdir():
            topic = path.name.partition(".")[0]
            if names.parse_topic(topic) and topic not in topics:
                path.unlink()

    def write_index(self, without: Collection[str] = ()) -> None:
        """Write the lists of archives, for people and for programs. Nothing is written if they have not changed."""
        for shelf, mode in _MODES.items():
            listed = [one for one in self.archives(shelf) if one.stem not in without]
            for name, text in index.files(listed).items():
                path = self.directory / shelf / name
                if not path.exists() or path.read_text() != text:
                    wholefile.write(path, text).chmod(mode)

    def _remove(self, record: Path) -> None:
        _log.info("archive removed", archive=record.stem)
        for suffix in _SUFFIXES:
            record.with_name(f"{record.stem}{suffix}").unlink(missing_ok=True)

    # How far a topic has been archived

    def ends(self, topic: str) -> Ends | None:
        """The ends of a topic's partitions when it was archived; None if that is not known."""
        known = self._state().get(topic)
        return {int(number): int(end) for number, end in known.items()} if isinstance(known, dict) else None

    def note_ends(self, topic: str, ends: Ends, present: Iterable[str]) -> None:
        """Remember the ends up to which a topic is archived; forget topics that are no more among those present."""
        wanted = {topic, *present}
        state = {name: one for name, one in self._state().items() if name in wanted}
        state[topic] = {str(number): end for number, end in sorted(ends.items())}
        wholefile.write(self.work / "state.json", json.dumps(state, indent=1, sort_keys=True) + "\n")

    def _state(self) -> dict[str, Any]:
        """What is remembered. If it is lost, nights are read again, and found to be archived already."""
        try:
            found = json.loads(wholefile.read(self.work / "state.json"))
        except (OSError, ValueError):
            return {}
        return {name: one for name, one in found.items() if names.parse_topic(name)} if isinstance(found, dict) else {}
