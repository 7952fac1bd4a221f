"""The ``zads`` command: it only parses the command line; the other modules of the package do the work.

A verb's module is imported only when the verb is used, so that ``zads --help`` answers at once and works in images
that have only some of the package's extras.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
import traceback
from importlib import metadata
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
import typer.core
import typer.main

from zads import logs, output
from zads.errors import ZadsError

if TYPE_CHECKING:
    from collections.abc import Sequence

# verb: the module that exports `app: typer.Typer` (one command, or a group of them), and its line in `zads --help`
COMMANDS: dict[str, tuple[str, str]] = {
    "packet": ("zads.commands.packet", "Look into alert packets, or validate them."),
    "simulate": ("zads.commands.simulate", "Make packets of a simulated night."),
    "schema": ("zads.commands.schema", "Take in a change of the survey's schema: compare, add, rehearse, retry."),
    "sample": ("zads.commands.sample", "Publish a sample of packets for testers, beside the nights."),
    "produce": ("zads.commands.produce", "Publish a spool's packets to the origin topics, each once."),
    "worker": ("zads.commands.worker", "Run a group of filters on the public stream."),
    "filter": ("zads.commands.filter", "List filters, or test one on a recorded night."),
    "plan": ("zads.commands.plan", "Work out what a survey's alerts need in machines, and why."),
    "disks": ("zads.commands.disks", "Show the brokers' disks: used, free, days left, largest topics."),
    "expiry": ("zads.commands.expiry", "Show when certificates, authorities, accounts and passwords end."),
    "reach": ("zads.commands.reach", "Try to reach the sites step by step; say what fails and what to do."),
    "board": ("zads.commands.board", "Serve the Night Board: web pages on which people see the night."),
    "groups": ("zads.commands.groups", "Show a site's consumer groups and their lag; move or remove one."),
    "topics": ("zads.commands.topics", "List a cluster's nights and filters, and how they are replicated."),
    "nights": ("zads.commands.nights", "Make and remove the nights' topics and grants, ahead of time."),
    "exporter": ("zads.commands.exporter", "Tell Prometheus about both sites, and send canaries all night."),
    "backup": ("zads.commands.backup", "Make, list, verify and compare backups; put one back."),
    "audit": ("zads.commands.audit", "Prove that both sites hold the same night, alert for alert."),
    "auditor": ("zads.commands.auditor", "Audit each night after its end, by itself: every hop, every filter."),
    "archive": ("zads.commands.archive", "Write nights as archives, with checksums and an index."),
    "replay": ("zads.commands.replay", "Stream an archive or a kept night again, into another topic."),
    "trace": ("zads.commands.trace", "Follow one alert through every hop, from the streams themselves."),
    "canary": ("zads.commands.canary", "Send a marked record through the mirror and time it."),
    "warm": ("zads.commands.warm", "Send canaries until fresh processes are quick, before a night."),
    "demo": ("zads.commands.demo", "Play a night through a deployed system and report on it."),
    "lab": ("zads.commands.lab", "An inventory as containers that boot systemd."),
}

# A requirement of an extra, such as `pyyaml; extra == "lab"`; that one is imported as yaml.
_OF_EXTRA = re.compile(r"(?P<name>[\w.-]+)[^;]*; extra == [\"'](?P<extra>\w+)[\"']")


class _Verbs(typer.core.TyperGroup):
    """A group that knows every verb's summary and imports a verb when it is called."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, (module, summary) in COMMANDS.items():
            if importlib.util.find_spec(module) is not None:
                self.commands[name] = typer.core.TyperCommand(name, callback=None, help=summary)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Put the verb that was called in place of its summary."""
        if args and args[0] in self.commands:
            self.commands[args[0]] = load(args[0])
        return super().resolve_command(ctx, args)


def load(verb: str) -> Any:
    """The command (or group) of `verb`, imported.

    Raises ZadsError if a package of an extra is missing.
    """
    module, summary = COMMANDS[verb]
    try:
        application = importlib.import_module(module).app
    except ModuleNotFoundError as error:
        raise _missing(error, verb) from error
    # Only the whole program offers completion, not each verb.
    application._add_completion = False
    command: Any = typer.main.get_command(application)
    command.name = verb
    command.help = command.help or summary
    return command


def _missing(error: ModuleNotFoundError, verb: str) -> Exception:
    """The error as one that names the extra to install; itself if the package belongs to none."""
    package = (error.name or "").partition(".")[0]
    extra = extra_of(package)
    if extra is None:
        return error
    return ZadsError(
        f"zads {verb} needs the Python package {package}, which is not installed",
        hint=f"install the extra that has it: pip install 'zads[{extra}]'",
    )


def extra_of(package: str) -> str | None:
    """The extra of zads that has an importable package, by the metadata that pyproject.toml becomes."""
    for requirement in metadata.requires("zads") or []:
        match = _OF_EXTRA.fullmatch(requirement)
        if match and match["name"].lower() in (package, f"py{package}"):
            return match["extra"]
    return None


app = typer.Typer(
    cls=_Verbs,
    no_args_is_help=True,
    add_completion=False,
    help="The alert distribution system of the Zwicky Transient Facility.",
    epilog="Example: zads packet inspect 697251920115015007.avro",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from zads import __version__

        typer.echo(f"zads {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show an error's traceback; works in any position.")] = False,
) -> None:
    """Options that every verb has; `run` has handled --debug already."""


def run(arguments: Sequence[str]) -> int:
    """Run one command line (without the program's name) and return the exit status.

    0: done; 1: an error, printed as one line on stderr; 2: wrong use; 130: interrupted.
    """
    arguments, debug = _take_debug(arguments)
    try:
        typer.main.get_command(app).main(args=arguments, prog_name="zads")
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except KeyboardInterrupt:
        return 130
    except ModuleNotFoundError as error:
        failure = _missing(error, next((word for word in arguments if word in COMMANDS), ""))
        if not isinstance(failure, ZadsError):
            raise
        return _fail(failure, debug)
    except ZadsError as error:
        return _fail(error, debug)
    except OSError as error:
        return _fail(_of_system(error), debug)
    except MemoryError as error:
        return _fail(ZadsError("there is not enough memory").with_traceback(error.__traceback__), debug)
    return 0


def _take_debug(arguments: Sequence[str]) -> tuple[list[str], bool]:
    """The arguments without --debug, and whether it was among them. It is not looked for after a lone --."""
    words = list(arguments)
    end = words.index("--") if "--" in words else len(words)
    return [word for word in words[:end] if word != "--debug"] + words[end:], "--debug" in words[:end]


def _of_system(error: OSError) -> ZadsError:
    """The system's error as one that names the files concerned."""
    files = [str(name) for name in (error.filename, error.filename2) if name is not None]
    made = ZadsError(": ".join([*files, error.strerror or str(error) or type(error).__name__]))
    return made.with_traceback(error.__traceback__)


def _fail(error: ZadsError, debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    text = " ".join(str(error).split())
    if logs.for_journal():
        logs.line("critical", text)
    else:
        sys.stderr.write(f"zads: {output.plain(text)}\n")
    return 1


def main() -> NoReturn:
    """The entry point of the ``zads`` program."""
    output.prepare()
    status = run(sys.argv[1:])
    if problem := output.flush():
        status = _fail(ZadsError(problem), debug=False)
    sys.exit(status)


if __name__ == "__main__":
    main()
