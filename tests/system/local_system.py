"""The deployed local system, as tests reach it: its commands, its hosts, its topics and its spool."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

import redating
from zads import kafka, progress, replication
from zads.inventory import Inventory
from zads.lab.hosts import Lab

ROOT = Path(__file__).resolve().parents[2]
STATE = ROOT / ".zads" / "local"
NIGHT = "20181129"


def run(*command: str, check: bool = True, timeout: float = 900, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the root of the repository. The test fails with its output if it fails."""
    result = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **variables}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=timeout, check=False,
    )  # fmt: skip
    if check and result.returncode:
        pytest.fail(f"{' '.join(command)} exited {result.returncode}:\n{result.stdout[-6000:]}", pytrace=False)
    return result


def hosts_of(group: str) -> list[str]:
    """The hosts of a group of the local inventory, which need not be up."""
    return Inventory.load("local", ROOT).group(group)


def playbook(name: str, *options: str, check: bool = True) -> dict[str, dict[str, int]]:
    """Run a playbook on the local system. Returns Ansible's counts by host."""
    recap = STATE / "lab" / f"recap-{name}.json"
    recap.unlink(missing_ok=True)
    run("scripts/ansible", "local", name, *options, check=check, ZADS_RECAP=str(recap))
    counts: dict[str, dict[str, int]] = json.loads(recap.read_text())
    return counts


def make_night(*nights: str) -> None:
    """Create the topics of nights, without the warm-up, which only latency needs."""
    run("make", "night", f"NIGHT={','.join(nights)}", "ARGS=-e night_warm_seconds=0")


def await_that(what: str, condition: Callable[[], Any], seconds: float = 90) -> Any:
    """Wait for a condition and return its true value. A failure shows what did not come true, and the last value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds:g} s: {what} (last: {value!r})", pytrace=False)
        time.sleep(0.3)
    return value


def client(user: str) -> dict[str, str]:
    """A user's client properties from the files of the deployment."""
    return kafka.read_properties(STATE / "clients" / f"{user}.properties")


def read_topic(user: str, topic: str, since: int = 0) -> list[Message]:
    """Read the committed records of a topic as a user, from a moment (milliseconds since 1970) to the present end."""
    consumer = Consumer(
        {
            **client(user),
            "group.id": f"{user}-test",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
        }
    )
    try:
        partitions = consumer.list_topics(topic, timeout=20).topics[topic].partitions
        places = [TopicPartition(topic, number, since) for number in partitions]
        # Where nothing has come since then, Kafka answers with the end.
        consumer.assign(consumer.offsets_for_times(places, timeout=20) if since else places)
        records: list[Message] = []
        at_end: set[int] = set()
        while len(at_end) < len(partitions):
            message = consumer.poll(30)
            assert message is not None, f"{topic} stopped answering after {len(records)} records"
            if message.error() is None:
                records.append(message)
            elif message.error().code() == KafkaError._PARTITION_EOF:
                at_end.add(message.partition())
            else:
                raise AssertionError(message.error())
        return records
    finally:
        consumer.close()


def read_error(conf: dict[str, str], topic: str, group: str) -> KafkaError | None:
    """The error when a topic is read in a group; None if a record or the end is reached."""
    consumer = Consumer({**conf, "group.id": group, "enable.partition.eof": True, "auto.offset.reset": "earliest"})
    try:
        consumer.subscribe([topic])
        message = consumer.poll(30)
        assert message is not None, f"neither a record nor an error from {topic}"
        error = message.error()
        return None if error is None or error.code() == KafkaError._PARTITION_EOF else error
    except KafkaException as exception:
        return exception.args[0]
    finally:
        consumer.close()


def at_rest(system: System) -> None:
    """Wait until the public site has all records of the origin, and the filters have processed them."""
    policy = system.inventory.policy()
    sites = (client("admin-origin"), client("admin-public"))
    await_that("nothing is under way", lambda: not progress.problems(*sites, policy, under_way=0), 60)


def under_replicated(site: str) -> int:
    """The number of partitions of a site, with Kafka's own, that lack a replica."""
    return sum(topic.under_replicated for topic in replication.describe(client(f"admin-{site}"), lambda _: True))


class System:
    """The deployed local system: its lab, its inventory and the report of the played night."""

    def __init__(self) -> None:
        self.inventory = Inventory.load("local", ROOT)
        self.lab = Lab(self.inventory)

    @property
    def report(self) -> dict[str, Any]:
        """The newest report of `zads demo`."""
        value: dict[str, Any] = json.loads((STATE / "reports" / "demo.json").read_text())
        return value

    def on(self, host: str, command: str, *, check: bool = True) -> str:
        """Run a shell command on a host as root. Returns its output: that of the one stream, then that of the other."""
        result = self.lab.container(host).exec_run(["sh", "-c", command], demux=True)
        output = "".join((part or b"").decode(errors="replace") for part in result.output)
        if check and result.exit_code:
            pytest.fail(f"{host}: {command} exited {result.exit_code}: {output}", pytrace=False)
        return output


def put(system: System, name: str, content: bytes) -> None:
    """Put a file into the spool as a pipeline does: write it under a hidden name, then rename it."""
    incoming = "/var/lib/zads/producer/spool/incoming"
    script = f"cat > {incoming}/.{name} && mv {incoming}/.{name} {incoming}/{name}"
    container = str(system.lab.container("apps-1").name)
    subprocess.run(["docker", "exec", "-i", container, "sh", "-c", script], input=content, check=True)


def drop(system: System, name: str, files: dict[str, bytes]) -> None:
    """Put an exposure, as an archive of files, into the spool."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for file, content in files.items():
            member = tarfile.TarInfo(file)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    put(system, f"{name}.tar", buffer.getvalue())


@contextmanager
def streaming(
    night: str, directory: Path, *, visits: int, alerts: int, seconds: float, speed: int = 40, real: bool = False
) -> Iterator[None]:
    """Stream a night. The body begins at its third visit; afterwards every alert is accounted for.

    `seconds` bounds the rest of the night after the body. The demo's log and report are written into the directory.
    With `real` the packets are the survey's, with other dates, if ``ZADS_ALERTS`` names a directory of them; else the
    night is simulated.
    """
    log, report = directory / "demo.log", directory / "report.json"

    def visits_shown() -> int:
        """The newest visit in the demo's log, which does not show each."""
        return max(map(int, re.findall(r"visit (\d+) of", log.read_text())), default=0)

    packets = ["--night", night, "--visits", str(visits), "--alerts-per-visit", str(alerts)]
    if real and (given := os.environ.get("ZADS_ALERTS")):
        written = redating.write(Path(given) / NIGHT, night, directory / f"packets-{night}", visits, alerts)
        packets = ["--alerts", str(written)]
    with log.open("w") as output:
        demo = subprocess.Popen(
            [".venv/bin/zads", "demo", "--env", "local", *packets, "--warm", "0", "--speed", str(speed),
             "--report", str(report.with_suffix(""))],
            cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    try:
        await_that("the night streams", lambda: visits_shown() >= 3, 150)
        yield
        status = demo.wait(seconds)
    finally:
        demo.kill()
    assert status == 0, log.read_text()[-3000:]
    found = json.loads(report.read_text())
    assert found["alerts"]["read"] == visits * alerts
    assert found["alerts"]["origin"] == found["alerts"]["read"]
    assert found["digests_agree"] is True
    assert found["duplicates"] == 0
    for name, row in found["filters"].items():
        assert row["seen"] == found["alerts"]["public"], name
