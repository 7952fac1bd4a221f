"""A backup is whole or refused, only the holder of a key reads it, and old ones are pruned by their number."""

from __future__ import annotations

import gzip
import hashlib
import io
import shutil
import stat
import subprocess
import tarfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from zads.backup import contents, envelope, making, restoring, shelf
from zads.backup.contents import Backup, Manifest
from zads.errors import ZadsError

MANIFEST = Manifest("prod", 1.9e9, "1", "abc", "def", {"origin": "one", "public": "two"})
MEMBERS = [
    ("secrets/passwords.yml", b"alice: x\n"),
    ("origin/definitions.json", b"{}"),
    ("ledger/0.jsonl", b"z" * 200_000),
]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the private keys `mine` and `other`, and their public keys."""
    if shutil.which("age-keygen") is None:
        pytest.skip("age is not installed: make prepare installs it")
    directory = tmp_path_factory.mktemp("keys")
    for name in ("mine", "other"):
        subprocess.run(["age-keygen", "-o", str(directory / name)], check=True, capture_output=True)
        made = subprocess.run(["age-keygen", "-y", str(directory / name)], check=True, capture_output=True, text=True)
        (directory / f"{name}.pub").write_text(made.stdout)
    return directory


@pytest.fixture
def backup(keys: Path, tmp_path: Path) -> Path:
    path = tmp_path / shelf.file_name("prod", MANIFEST.made)
    contents.write(path, envelope.recipients([(keys / "mine.pub").read_text()]), MANIFEST, MEMBERS)
    return path


def test_what_was_written_is_read(backup: Path, keys: Path) -> None:
    found = contents.read(backup, keys / "mine")
    assert found.manifest == MANIFEST
    assert found.members == dict(MEMBERS)
    assert found.below("secrets") == {"passwords.yml": b"alice: x\n"}


def test_only_its_owner_can_open_the_file_and_nothing_of_it_is_readable(backup: Path) -> None:
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert b"alice" not in backup.read_bytes()
    assert [path.name for path in backup.parent.iterdir()] == [backup.name]


def test_other_programs_read_and_check_it(backup: Path, keys: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    command = 'age --decrypt --identity "$1" "$2" | tar --extract --gzip && sha256sum --check --quiet SHA256SUMS'
    subprocess.run(["sh", "-ec", command, "sh", str(keys / "mine"), str(backup)], cwd=out, check=True)
    assert (out / "secrets/passwords.yml").read_bytes() == b"alice: x\n"


def test_an_ssh_key_is_a_recipient(keys: Path, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "id")], check=True)
    path = tmp_path / "one.age"
    contents.write(path, envelope.recipients((tmp_path / "id.pub").read_text().splitlines()), MANIFEST, MEMBERS)
    assert contents.read(path, tmp_path / "id").members == dict(MEMBERS)


def test_another_key_is_refused(backup: Path, keys: Path) -> None:
    with pytest.raises(ZadsError, match="cannot be read with the key"):
        contents.read(backup, keys / "other")


@pytest.mark.parametrize("size", [0, 10, 200, -1, -70_000])
def test_a_shortened_file_is_refused(backup: Path, keys: Path, size: int) -> None:
    data = backup.read_bytes()
    backup.write_bytes(data[:size])
    with pytest.raises(ZadsError, match=r"cannot be read|damaged"):
        contents.read(backup, keys / "mine")


@pytest.mark.parametrize("place", [3, 100, -1, -500])
def test_a_flipped_bit_is_refused(backup: Path, keys: Path, place: int) -> None:
    data = bytearray(backup.read_bytes())
    data[place] ^= 1
    backup.write_bytes(data)
    with pytest.raises(ZadsError, match="cannot be read"):
        contents.read(backup, keys / "mine")


def test_a_missing_key_or_file_is_named(backup: Path, keys: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nokey"):
        contents.read(backup, tmp_path / "nokey")
    with pytest.raises(FileNotFoundError, match="nofile"):
        contents.read(tmp_path / "nofile", keys / "mine")


def sealed(keys: Path, path: Path, data: bytes) -> Path:
    with envelope.sealed(path, [(keys / "mine.pub").read_text().strip()]) as stream:
        stream.write(data)
    return path


def archive(*members: tuple[str, bytes], kind: bytes = tarfile.REGTYPE) -> bytes:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w:gz") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size, info.type, info.linkname = len(data), kind, "passwords.yml"
            tar.addfile(info, io.BytesIO(data))
    return output.getvalue()


def sums(**files: bytes) -> bytes:
    return "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in files.items()).encode()


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "a/../../b", "a//b", ".", "a\nb", "x" * 300, ""])
def test_a_forged_name_is_refused(keys: Path, tmp_path: Path, name: str) -> None:
    """Whoever knows a public key can write a file that decrypts."""
    path = sealed(keys, tmp_path / "forged", archive((name, b"x")))
    with pytest.raises(ZadsError):
        contents.read(path, keys / "mine")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE])
def test_what_is_no_file_is_refused(keys: Path, tmp_path: Path, kind: bytes) -> None:
    path = sealed(keys, tmp_path / "forged", archive(("secrets", b""), kind=kind))
    with pytest.raises(ZadsError, match="no file"):
        contents.read(path, keys / "mine")


def test_a_bomb_is_refused(keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "MOST_BYTES", 1_000_000)
    path = sealed(keys, tmp_path / "bomb", archive(("zeros", bytes(2_000_000))))
    with pytest.raises(ZadsError, match="more than"):
        contents.read(path, keys / "mine")


FAR = replace(MANIFEST, made=1e300).text()


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("manifest.json", b"{}")], "no checksums"),
        ([("manifest.json", b"{}"), ("SHA256SUMS", sums())], "checksums of manifest.json"),
        ([("a", b"x"), ("SHA256SUMS", sums(a=b"x"))], "damaged"),
        ([("a", b"x"), ("SHA256SUMS", sums(a=b"y"))], "checksums of a"),
        ([("manifest.json", b"{}"), ("SHA256SUMS", sums(**{"manifest.json": b"{}"}))], "manifest cannot be read"),
        (
            [("manifest.json", b'{"format": 99}'), ("SHA256SUMS", sums(**{"manifest.json": b'{"format": 99}'}))],
            "format 99",
        ),
        ([("a", b"x"), ("a", b"x")], "twice"),
        (
            [("manifest.json", FAR), ("SHA256SUMS", sums(**{"manifest.json": FAR}))],
            "manifest cannot be read",
        ),
    ],
)
def test_an_archive_that_is_no_backup_is_refused(
    keys: Path, tmp_path: Path, members: list[tuple[str, bytes]], message: str
) -> None:
    path = sealed(keys, tmp_path / "forged", archive(*members))
    with pytest.raises(ZadsError, match=message):
        contents.read(path, keys / "mine")


@pytest.mark.parametrize("data", [b"", b"not a tar", gzip.compress(b"not a tar"), archive(("a", b"x" * 5000))[:60]])
def test_what_is_no_archive_is_refused(keys: Path, tmp_path: Path, data: bytes) -> None:
    path = sealed(keys, tmp_path / "forged", data)
    with pytest.raises(ZadsError):
        contents.read(path, keys / "mine")


def failing() -> Iterator[tuple[str, bytes]]:
    yield "a", b"x" * 1_000_000
    raise ZadsError("the site went away")


def test_a_backup_that_fails_leaves_nothing(keys: Path, tmp_path: Path) -> None:
    with pytest.raises(ZadsError, match="went away"):
        contents.write(tmp_path / "one", [(keys / "mine.pub").read_text().strip()], MANIFEST, failing())
    assert list(tmp_path.iterdir()) == []


def test_a_key_that_age_refuses_leaves_nothing(keys: Path, tmp_path: Path) -> None:
    with pytest.raises(ZadsError, match="cannot be encrypted"):
        contents.write(tmp_path / "one", ["age1nonsense"], MANIFEST, MEMBERS)
    assert list(tmp_path.iterdir()) == []


def test_a_backup_never_replaces_another(backup: Path, keys: Path) -> None:
    before = backup.read_bytes()
    with pytest.raises(ZadsError, match="exists already"):
        contents.write(backup, [(keys / "mine.pub").read_text().strip()], MANIFEST, MEMBERS)
    assert backup.read_bytes() == before


@pytest.mark.parametrize("lines", [[], ["", "# nobody"]])
def test_without_recipients_there_is_no_backup(lines: list[str]) -> None:
    with pytest.raises(ZadsError, match="has no recipient"):
        envelope.recipients(lines)


def test_a_private_key_in_place_of_a_public_one_is_not_quoted() -> None:
    with pytest.raises(ZadsError) as error:
        envelope.recipients(["AGE-SECRET-KEY-1ABC"])
    assert "ABC" not in str(error.value)


# the shelf


def put(directory: Path, *names: str) -> None:
    for name in names:
        (directory / name).write_bytes(b"x")


def test_the_oldest_go_and_other_files_stay(tmp_path: Path) -> None:
    ours = [shelf.file_name("prod", 1.9e9 + 60 * number) for number in range(5)]
    others = [shelf.file_name("prod-2", 1.0e9), "zads-prod-notes.tar.gz.age", "key", shelf.file_name("local", 1.0e9)]
    put(tmp_path, *ours, *others)
    assert [path.name for path in shelf.prune(tmp_path, "prod", 2, tmp_path / ours[-1])] == ours[:3]
    assert [path.name for path in shelf.backups(tmp_path, "prod")] == ours[3:]
    assert {path.name for path in tmp_path.iterdir()} == {*ours[3:], *others}


@pytest.mark.parametrize("keep", [0, -3])
def test_the_newest_is_never_removed(tmp_path: Path, keep: int) -> None:
    put(tmp_path, *(shelf.file_name("prod", 1.9e9 + number) for number in range(2)))
    shelf.prune(tmp_path, "prod", keep, tmp_path / shelf.file_name("prod", 1.9e9 + 1))
    assert len(shelf.backups(tmp_path, "prod")) == 1


def test_a_clock_that_was_set_back_does_not_cost_the_new_backup(tmp_path: Path) -> None:
    put(tmp_path, *(shelf.file_name("prod", 1.9e9 + number) for number in range(3)))
    made = tmp_path / shelf.file_name("prod", 1.8e9)
    put(tmp_path, made.name)
    shelf.prune(tmp_path, "prod", 2, made)
    assert made in shelf.backups(tmp_path, "prod")


def test_what_an_interrupted_run_left_goes(tmp_path: Path) -> None:
    name = shelf.file_name("prod", 1.9e9)
    put(tmp_path, f".{name}.part", f".{shelf.file_name('local', 1.9e9)}.part", name)
    shelf.tidy(tmp_path, "prod")
    assert {path.name for path in tmp_path.iterdir()} == {f".{shelf.file_name('local', 1.9e9)}.part", name}


def test_the_age_of_the_last_backup_is_judged(tmp_path: Path) -> None:
    assert shelf.last(tmp_path) is None
    assert "never" in shelf.problem(None, 1, 0)
    put(tmp_path, "one")
    shelf.note(tmp_path, tmp_path / "one", 1.9e9)
    about = shelf.last(tmp_path)
    assert shelf.problem(about, 1, 1.9e9 + shelf.DAY) == ""
    assert "1.5 days old" in shelf.problem(about, 1, 1.9e9 + 1.5 * shelf.DAY)
    assert "future" in shelf.problem(about, 1, 1.9e9 - shelf.DAY)
    samples = [line for line in shelf.metrics(about).splitlines() if not line.startswith("#")]
    assert samples == [
        "zads_backup_last_seconds 1900000000.0",
        f"zads_backup_bytes {(tmp_path / 'one').stat().st_size}.0",
    ]
    (tmp_path / shelf.NOTE).write_text('{"made": "x"}')
    assert shelf.last(tmp_path) is None
    with pytest.raises(ZadsError):
        shelf.problem(None, -1, 0)


def test_a_verification_asks_only_if_the_inventory_does(plugin: object, tmp_path: Path) -> None:
    problems = plugin("filter/backups.py").problems  # type: ignore[operator]
    assert problems(str(tmp_path), 0) == []
    assert "never" in problems(str(tmp_path), 2)[0]
    put(tmp_path, "one")
    shelf.note(tmp_path, tmp_path / "one", time.time())
    assert problems(str(tmp_path), "2") == []


# secrets


def state(directory: Path, **files: str) -> Path:
    for name, text in {"passwords.yml": "alice: x\n", **files}.items():
        path = directory / "secrets" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return directory


def of_secrets(directory: Path) -> Backup:
    members = {f"secrets/{name}": data for name, data in making.secrets(directory / "secrets").items()}
    return Backup(MANIFEST, members)


def test_secrets_come_back_readable_by_their_owner_alone(tmp_path: Path) -> None:
    backup = of_secrets(state(tmp_path / "old", **{"origin/kafka-ca.key": "k", ".half.part": "h"}))
    new = tmp_path / "new"
    new.mkdir()
    assert restoring.put_secrets(backup, new, replace=False) == ["origin/kafka-ca.key", "passwords.yml"]
    assert (new / "secrets/origin/kafka-ca.key").read_text() == "k"
    files = [path for path in (new / "secrets").rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert {stat.S_IMODE(path.parent.stat().st_mode) for path in files} == {0o700}
    assert restoring.put_secrets(backup, new, replace=False) == []


def test_other_secrets_are_not_replaced_unless_told_so(tmp_path: Path) -> None:
    backup = of_secrets(state(tmp_path / "old"))
    other = state(tmp_path / "new", **{"passwords.yml": "alice: other\n"})
    with pytest.raises(ZadsError, match=r"other secrets than the backup: passwords\.yml"):
        restoring.put_secrets(backup, other, replace=False)
    assert (other / "secrets/passwords.yml").read_text() == "alice: other\n"
    restoring.put_secrets(backup, other, replace=True)
    assert (other / "secrets/passwords.yml").read_text() == "alice: x\n"
    (kept,) = other.glob("secrets.before-*")
    assert (kept / "passwords.yml").read_text() == "alice: other\n"


def test_an_interrupted_return_of_secrets_is_repeated(tmp_path: Path) -> None:
    backup = of_secrets(state(tmp_path / "old"))
    (tmp_path / ".secrets.part/origin").mkdir(parents=True)
    (tmp_path / ".secrets.part/passwords.yml").write_text("half")
    restoring.put_secrets(backup, tmp_path, replace=False)
    assert (tmp_path / "secrets/passwords.yml").read_text() == "alice: x\n"
    assert not (tmp_path / ".secrets.part").exists()


def test_a_link_among_the_secrets_is_refused(tmp_path: Path) -> None:
    state(tmp_path)
    (tmp_path / "secrets/link").symlink_to("/etc/hostname")
    with pytest.raises(ZadsError, match="no ordinary file"):
        making.secrets(tmp_path / "secrets")


def test_a_machine_without_secrets_makes_no_backup(tmp_path: Path) -> None:
    with pytest.raises(ZadsError, match=r"no passwords\.yml"):
        making.secrets(tmp_path / "secrets")
