"""A copy of a user's kit in another directory, and the commands of its README."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from environments import environment as environment
from local_system import NIGHT, STATE, await_that, client, read_topic
from zads import names

SEPARATOR = b"--END-OF-ALERT--"
PARTS = re.compile(r"^## (.+)$", re.MULTILINE)
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class CopiedKit:
    """A kit that was copied to a directory without other files of ours."""

    def __init__(self, user: str, directory: Path, programs: Path, night: str = NIGHT) -> None:
        self.user, self.directory = user, directory / f"{user}'s kit"
        shutil.copytree(STATE / "clients" / user, self.directory)
        self.elsewhere = directory / "elsewhere"
        self.elsewhere.mkdir()
        path = f"{programs / 'bin'}:/usr/local/bin:/usr/bin:/bin:/usr/local/go/bin"
        self.env = {"PATH": path, "HOME": os.environ["HOME"], "LANG": "C.UTF-8", "NIGHT": night}
        self.env["PYTHONDONTWRITEBYTECODE"] = "1"

    def blocks(self, section: str) -> list[str]:
        """The commands of a section of the README."""
        parts = PARTS.split((self.directory / "README.md").read_text())
        return BLOCK.findall(dict(zip(parts[1::2], parts[2::2], strict=True))[section])

    def type(self, block: str, seconds: float = 120) -> subprocess.CompletedProcess[bytes]:
        """Type a block in the kit's directory. The test fails with its errors if a command fails."""
        result = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block], cwd=self.directory, env=self.env, stdin=subprocess.DEVNULL,
            capture_output=True, timeout=seconds, check=False,
        )  # fmt: skip
        if result.returncode:
            pytest.fail(f"{block} exited {result.returncode}: {result.stderr.decode()[-3000:]}", pytrace=False)
        return result

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a program of the kit from another directory."""
        return subprocess.Popen(
            [str(self.directory / command[0]), *command[1:]], cwd=self.elsewhere, env=self.env,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, *command: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a program of the kit to its end, from another directory."""
        with self.start(*command) as process:
            try:
                out, err = process.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                pytest.fail(f"{' '.join(command)} did not end: {process.communicate()[1][-2000:]}", pytrace=False)
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def change(self, file: str, pattern: str, replacement: str) -> None:
        """Alter a file of the copy."""
        path = self.directory / file
        text, count = re.subn(pattern, replacement, path.read_text(), flags=re.MULTILINE)
        assert count
        path.write_text(text)

    def packets(self, name: str) -> list[str]:
        """Digests of the packets that a block has saved, in the form in which its client saves them."""
        file = self.directory / f"{name}.bin"
        if name == "kcat":
            found = list(_sized(file.read_bytes()))
        elif name == "java":
            found = file.read_bytes().split(SEPARATOR)[:-1]
        else:
            found = [path.read_bytes() for path in (self.directory / "packets" / name).iterdir()]
        return sorted(hashlib.sha256(packet).hexdigest() for packet in found)


def _sized(data: bytes) -> Iterator[bytes]:
    """Values, each after its length in four bytes."""
    start = 0
    while start < len(data):
        size = int.from_bytes(data[start : start + 4], "big")
        yield data[start + 4 : start + 4 + size]
        start += 4 + size


def _of_alerts(user: str) -> list[str]:
    """The topics of alerts that a user may read: all but that of their filters' counts and failures."""
    return sorted(set(AdminClient(client(user)).list_topics(timeout=20).topics) - {names.owner_topic(user)})


def all_there_is(user: str) -> list[str]:
    """Digests of all packets that a user may read now, sorted."""
    every = (one for topic in _of_alerts(user) for one in read_topic(user, topic))
    return sorted(hashlib.sha256(one.value() or b"").hexdigest() for one in every)


def unlabelled(user: str) -> int:
    """The number of alerts without the header `_format` that a user may read: only very old ones."""
    headers = [dict(one.headers() or ()) for topic in _of_alerts(user) for one in read_topic(user, topic)]
    return sum(names.HEADER_FORMAT not in one for one in headers)


def forget(user: str) -> None:
    """Delete the groups of an earlier run, as the user."""
    admin = AdminClient(client(user))
    listed = admin.list_consumer_groups(request_timeout=20).result()
    mine = [one.group_id for one in listed.valid if one.group_id.startswith(f"{user}-")]
    for name, answer in (admin.delete_consumer_groups(mine) if mine else {}).items():
        try:
            answer.result()
        except KafkaException as error:
            code = error.args[0].code()
            assert code in {KafkaError.GROUP_ID_NOT_FOUND, KafkaError.NON_EMPTY_GROUP}, (name, error)


@contextmanager
def following(kit: CopiedKit, *command: str) -> Iterator[subprocess.Popen[str]]:
    """A program that runs during the body and then gets Ctrl-C. It must end soon and without an error."""
    process = kit.start(*command)
    try:
        yield process
        process.send_signal(signal.SIGINT)
        started = time.monotonic()
        await_that("the program has ended", lambda: process.poll() is not None, 20)
        assert time.monotonic() - started < 15
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()
