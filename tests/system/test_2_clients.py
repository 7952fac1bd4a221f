"""The community's clients read the stream with a copied kit and the commands of its README."""

from __future__ import annotations

import hashlib
import re
import signal
import subprocess
from pathlib import Path

import pytest

from kits import BLOCK, CopiedKit, all_there_is, environment, following, forget, unlabelled
from local_system import NIGHT, ROOT, STATE, System, at_rest, await_that, client
from zads.report.passed_alerts import read_passed_alerts

PYTHON = {
    "confluent-kafka": "read_confluent_kafka.py",
    "kafka-python": "read_kafka_python.py",
    "aiokafka": "read_aiokafka.py",
    "adc-streaming": "read_adc_streaming.py",
    "hop": "read_hop.py",
}
PROGRAMS = sorted(PYTHON.values())


@pytest.fixture(scope="module")
def programs() -> Path:
    return environment("clients")


@pytest.fixture(scope="module")
def kit(system: System, public_topic: str, programs: Path, tmp_path_factory: pytest.TempPathFactory) -> CopiedKit:
    forget("reader")
    return CopiedKit("reader", tmp_path_factory.mktemp("kit"), programs, public_topic.split("_")[1])


@pytest.fixture
def own_kit(system: System, programs: Path, tmp_path: Path) -> CopiedKit:
    """A separate copy that a test may change."""
    return CopiedKit("reader", tmp_path, programs)


@pytest.fixture
def filters_kit(system: System, programs: Path, tmp_path: Path) -> CopiedKit:
    forget("alice")
    return CopiedKit("alice", tmp_path, programs)


@pytest.fixture(scope="module")
def there(system: System) -> list[str]:
    at_rest(system)  # an exposure of an earlier test may be under way
    return all_there_is("reader")


def test_the_played_night_is_what_is_read(there: list[str], alerts: Path | None) -> None:
    assert there
    if alerts is not None:
        night = {hashlib.sha256(path.read_bytes()).hexdigest() for path in alerts.glob("*.avro")}
        assert night <= set(there)


@pytest.mark.parametrize("name", ["kcat", *PYTHON])
def test_a_client_reads_every_packet_byte_for_byte(kit: CopiedKit, there: list[str], name: str) -> None:
    said = [kit.type(block) for block in kit.blocks("hop-client" if name == "hop" else name)]
    assert kit.packets(name) == there
    if name == "hop":
        blobs = said[0].stderr.count(b"hop does not see that it is Avro")
        assert blobs == unlabelled("reader"), "alerts without the header `_format`"
        assert len(said[1].stdout) > 1000


def test_a_kit_holds_nobody_elses_secret(system: System) -> None:
    keys = [path.read_text() for path in (STATE / "secrets").rglob("*.key")]
    passwords = dict(re.findall(r"^(\S+): (\S+)$", (STATE / "secrets/passwords.yml").read_text(), re.MULTILINE))
    for user in ("reader", "alice", "partner"):
        kit = STATE / "clients" / user
        texts = "".join(path.read_text() for path in kit.rglob("*") if path.is_file())
        assert passwords[user] in texts
        assert not [name for name, password in passwords.items() if name != user and password in texts]
        assert not [key for key in keys if key.splitlines()[1] in texts]
        assert {path.stat().st_mode & 0o077 for path in [kit, *kit.rglob("*")]} == {0}


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_second_run_goes_on_and_says_so(kit: CopiedKit, there: list[str], program: str) -> None:
    again = kit.run(program, "--end")
    assert again.returncode == 0, again.stderr
    assert "0 alerts read" in again.stderr
    over = kit.run(program, "--end", "--start", "beginning")
    assert f"\n{len(there)} alerts read" in f"\n{over.stderr}", over.stderr
    if "adc" not in program and "hop" not in program:
        assert "goes on in" in again.stderr


def complaint(result: subprocess.CompletedProcess[str], program: str) -> str:
    """The last line of a program that failed."""
    assert result.returncode == 1, result.stderr[-2000:]
    assert "Traceback" not in result.stderr, result.stderr[-2000:]
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith(f"{program}: ")
    return last


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_wrong_password_ends_a_program_with_the_reason(own_kit: CopiedKit, program: str) -> None:
    own_kit.change("librdkafka.properties", "^sasl.password=.*$", "sasl.password=wrong")
    assert "refuse the password of reader" in complaint(own_kit.run(program), program)


@pytest.mark.parametrize("program", PROGRAMS)
def test_another_authority_ends_a_program_with_the_reason(own_kit: CopiedKit, program: str) -> None:
    (own_kit.directory / "ca.pem").write_bytes((STATE / "secrets/origin/kafka-ca.crt").read_bytes())
    assert "is not of the authority in ca.pem" in complaint(own_kit.run(program), program)


def test_the_check_of_a_kit_says_that_everything_works(kit: CopiedKit, there: list[str]) -> None:
    [block] = kit.blocks("Check the connection")
    said = kit.type(block).stdout.decode()
    assert said.splitlines()[-1] == "everything works"
    assert said.count(" encryption: TLSv1.3, certificate of public-") == 3
    assert said.count(" login: as reader") == 3
    assert "a record of " in said


@pytest.mark.parametrize(
    ("file", "pattern", "replacement", "step"),
    [
        ("librdkafka.properties", "^sasl.password=.*$", "sasl.password=wrong", "login: the broker refuses reader"),
        ("librdkafka.properties", r"^(bootstrap.servers=[^:]+):\d+.*$", r"\1:1", " connection: "),
        ("ca.pem", r"(?s)\A.*\Z", (STATE / "secrets/origin/kafka-ca.crt"), "encryption: its certificate is not of"),
    ],
)
def test_the_check_of_a_kit_says_at_which_step_it_fails(
    own_kit: CopiedKit, file: str, pattern: str, replacement: str | Path, step: str
) -> None:
    own_kit.change(file, pattern, replacement if isinstance(replacement, str) else replacement.read_text())
    done = own_kit.run("check_connection.py", seconds=120)
    assert done.returncode == 1
    assert step in done.stdout
    assert "what to do: " in done.stdout


@pytest.mark.parametrize(
    ("program", "topic"),
    [
        *((program, f"ztf_{NIGHT}_programid2") for program in PROGRAMS),
        (PROGRAMS[0], "ztf_filter_asteroid"),
        (PROGRAMS[0], "nothing"),
    ],
)
def test_a_topic_that_is_not_granted_ends_a_program_with_the_reason(kit: CopiedKit, program: str, topic: str) -> None:
    assert f"{topic}: not granted to reader" in complaint(kit.run(program, topic), program)


@pytest.mark.parametrize(
    ("program", "group"), [*((program, "somebody") for program in PROGRAMS), (PROGRAMS[0], "reader2")]
)
def test_a_group_that_is_not_granted_ends_a_program_with_the_reason(kit: CopiedKit, program: str, group: str) -> None:
    assert f"the group {group} is not yours" in complaint(kit.run(program, "--group", group), program)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_waits_for_a_topic_and_says_so(filters_kit: CopiedKit, program: str) -> None:
    nights = "^ztf_[0-9]{8}_programid1$"
    with following(filters_kit, program, nights) as process:
        assert process.stderr is not None
        assert "waiting for one" in process.stderr.readline()
    ended = filters_kit.run(program, nights, "--end")
    assert ended.returncode == 0
    assert "nothing to read" in ended.stderr


@pytest.mark.parametrize("program", PROGRAMS)
def test_what_was_read_before_ctrl_c_is_committed(kit: CopiedKit, there: list[str], program: str) -> None:
    group = f"reader-stopped-{program.removesuffix('.py').replace('_', '-')}"
    with following(kit, program, "--group", group) as process:
        assert process.stdout is not None
        read = [process.stdout.readline() for _ in there]
    assert len({line.split()[1] for line in read}) > 1
    assert "0 alerts read" in kit.run(program, "--group", group, "--end").stderr


def test_a_kit_of_a_filters_owner_reads_what_the_filters_passed(
    filters_kit: CopiedKit, there: list[str], system: System
) -> None:
    passed = all_there_is("alice")
    for block in filters_kit.blocks("confluent-kafka"):
        filters_kit.type(block)
    assert filters_kit.packets("confluent-kafka") == passed
    nights = {row["topic"].split("_")[1] for row in system.report["topics"]}
    for one in system.inventory.common("filters"):
        if one["state"] == "active":
            row = system.report["filters"][one["name"]]
            assert read_passed_alerts(client("alice"), one["name"], nights).count == row["passed"]


def test_our_own_commands_take_a_kits_file_from_any_directory(kit: CopiedKit, public_topic: str) -> None:
    command = [ROOT / ".venv/bin/zads", "topics", "--kafka", kit.directory / "librdkafka.properties"]
    listed = subprocess.run(command, cwd=kit.elsewhere, capture_output=True, text=True, check=True)
    assert public_topic in listed.stdout


def test_the_page_works_as_written(kit: CopiedKit, there: list[str]) -> None:
    page = (ROOT / "docs/consume.md").read_text()
    for block in BLOCK.findall(page):
        kit.type(block)
    team = [(kit.directory / name).read_text().splitlines() for name in ("one.txt", "two.txt")]
    assert len({line.split()[1] for lines in team for line in lines}) == len(set(there))
    (program,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    # Tests that run in the background ignore Ctrl-C, and so would the programs that they start.
    python = ["env", "--default-signal=INT", str(environment("clients") / "bin/python"), "-c", program]
    with subprocess.Popen(python, cwd=kit.directory, stdout=subprocess.PIPE, env=kit.env, text=True) as process:
        try:
            assert process.stdout is not None
            assert all(process.stdout.readline() for _ in there)
            process.send_signal(signal.SIGINT)
            await_that("the page's program has ended", lambda: process.poll() is not None, 20)
        finally:
            process.kill()
    assert process.returncode == 0
