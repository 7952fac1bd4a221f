"""The command line: help is quick everywhere, errors are one line, and every verb has an example."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from zads import cli
from zads.errors import ZadsError

VERBS = sorted(cli.COMMANDS)


def commands(verb: str) -> list[list[str]]:
    """Every command line (without options) below a verb."""
    command = cli.load(verb)
    below = getattr(command, "commands", None)
    return [[verb, name] for name in below] if below else [[verb]]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_exists(verb: str) -> None:
    assert importlib.util.find_spec(cli.COMMANDS[verb][0]) is not None


@pytest.mark.parametrize("verb", VERBS)
def test_every_command_has_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    for words in commands(verb):
        assert cli.run([*words, "--help"]) == 0
        assert f"Example: zads {' '.join(words)}" in " ".join(capsys.readouterr().out.split()), words


def test_help_lists_the_verbs_without_importing_any() -> None:
    script = (
        "import sys; from zads import cli; status = cli.run(['--help']);"
        "heavy = {'confluent_kafka', 'fastavro', 'numpy', 'matplotlib', 'docker'};"
        "loaded = sorted(heavy & set(sys.modules));"
        "sys.exit(f'imported {loaded}' if loaded else status)"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    for verb in VERBS:
        assert f" {verb} " in result.stdout


def test_a_missing_extra_is_named() -> None:
    script = "import sys; sys.modules['matplotlib'] = None; from zads import cli; sys.exit(cli.run(['demo', '--help']))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "zads demo needs the Python package matplotlib" in result.stderr
    assert "pip install 'zads[report]'" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("package", "extra"), [("matplotlib", "report"), ("docker", "lab"), ("yaml", "lab"), ("numpy", None), ("os", None)]
)
def test_an_optional_package_belongs_to_the_extra_of_pyproject(package: str, extra: str | None) -> None:
    assert cli.extra_of(package) == extra


def test_an_error_is_one_line_with_its_hint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["topics", "--kafka", str(tmp_path / "none.properties")]) == 1
    printed = capsys.readouterr().err
    assert printed.startswith("zads: ")
    assert "none.properties" in printed
    assert ".zads/ENV/clients" in printed
    assert printed.count("\n") == 1


@pytest.mark.parametrize("where", [0, 1, 3])
def test_debug_shows_the_traceback_wherever_it_stands(
    where: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["topics", "--kafka", str(tmp_path / "none.properties")]
    words.insert(where, "--debug")
    assert cli.run(words) == 1
    assert "Traceback" in capsys.readouterr().err


def test_after_two_dashes_debug_is_a_word_like_any_other() -> None:
    assert cli._take_debug(["packet", "--", "--debug"]) == (["packet", "--", "--debug"], False)


@pytest.mark.parametrize("words", [["nonsense"], ["packet", "nonsense"], ["audit"], ["packet", "inspect"]])
def test_wrong_use_exits_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(words) == 2
    assert "Traceback" not in capsys.readouterr().err


def _raising(error: BaseException) -> typer.Typer:
    app = typer.Typer()

    @app.command()
    def fail() -> None:
        raise error

    return app


@pytest.mark.parametrize(
    ("error", "status"), [(KeyboardInterrupt(), 130), (ZadsError("a\nb", hint="c"), 1), (SystemExit(3), 3)]
)
def test_what_ends_a_verb_is_the_exit_status(
    error: BaseException, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import zads.commands.packet

    monkeypatch.setattr(zads.commands.packet, "app", _raising(error))
    assert cli.run(["packet"]) == status
    assert capsys.readouterr().err == ("zads: a b; c\n" if status == 1 else "")


def test_a_bug_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    import zads.commands.packet

    monkeypatch.setattr(zads.commands.packet, "app", _raising(RuntimeError("a bug")))
    with pytest.raises(RuntimeError, match="a bug"):
        cli.run(["packet"])


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    from zads import __version__

    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out == f"zads {__version__}\n"


def test_validate_names_each_refusal_and_its_field(
    real_packets: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "good.avro").write_bytes(real_packets[0].read_bytes())
    assert cli.run(["packet", "validate", str(tmp_path)]) == 0
    assert "1 packets are valid, 0 are not" in capsys.readouterr().out
    (tmp_path / "cut.avro").write_bytes(real_packets[0].read_bytes()[:-40])
    assert cli.run(["packet", "validate", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert "cut.avro: " in out
    assert "1 packets are valid, 1 are not" in out


def test_inspect_shows_what_a_packet_says_of_itself(
    real_packets: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["packet", "inspect", str(real_packets[0])]) == 0
    assert real_packets[0].stem in capsys.readouterr().out
