"""The ``zads`` command: a thin front to the package, every verb one call into the modules beneath it.

A verb's module is imported when the verb is used and not before, so that ``zads --help`` answers at once and works in
images that carry only some of the package's extras.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
import typer.core
import typer.main

from zads import shown
from zads.errors import ZadsError

if TYPE_CHECKING:
    from collections.abc import Sequence

# verb: the module that exports `app: typer.Typer` (one command, or a group of them), and its line in `zads --help`
COMMANDS: dict[str, tuple[str, str]] = {
    "packet": ("zads.commands.packet", "Look into alert packets, or validate them."),
    "simulate": ("zads.commands.simulate", "Make packets of a night that never was."),
    "produce": ("zads.commands.produce", "Publish a spool's packets to the origin topics, each once."),
    "worker": ("zads.commands.worker", "Run a group of filters on the public stream."),
    "filter": ("zads.commands.filter", "List filters, or test one on a recorded night."),
    "topics": ("zads.commands.topics", "List a cluster's nights and filters, and how they are replicated."),
    "audit": ("zads.commands.audit", "Prove that both sites hold the same night, alert for alert."),
    "canary": ("zads.commands.canary", "Send a marked record through the mirror and time it."),
    "warm": ("zads.commands.warm", "Send canaries until fresh processes are quick, before a night."),
    "demo": ("zads.commands.demo", "Play a night through a deployed system and report on it."),
    "lab": ("zads.commands.lab", "An inventory as containers that boot systemd."),
}

# What an optional package belongs to, for the message when it is missing.
EXTRAS = {
    "astropy": "report",
    "docker": "lab",
    "jinja2": "report",
    "matplotlib": "report",
    "testcontainers": "lab",
    "yaml": "lab",
}


class _Verbs(typer.core.TyperGroup):
    """A group that knows every verb's summary and imports a verb when it is called."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, (module, summary) in COMMANDS.items():
            if importlib.util.find_spec(module) is not None:
                self.commands[name] = typer.core.TyperCommand(name, callback=None, help=summary)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Replace the summary of the verb that was called by the verb itself."""
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
    # Completion is the whole program's, not each verb's.
    application._add_completion = False
    command: Any = typer.main.get_command(application)
    command.name = verb
    command.help = command.help or summary
    return command


def _missing(error: ModuleNotFoundError, verb: str) -> Exception:
    package = (error.name or "").partition(".")[0]
    if package not in EXTRAS:
        return error
    extra = EXTRAS[package]
    return ZadsError(
        f"zads {verb} needs the Python package {package}, which is not installed",
        hint=f"install the extra that has it: pip install 'zads[{extra}]'",
    )


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
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error; may stand anywhere.")] = False,
) -> None:
    """Options of every verb; `run` has read them already."""


def run(arguments: Sequence[str]) -> int:
    """Run one command line (without the program's name) and return the exit status.

    0: done; 1: an error, told in one line on stderr; 2: wrong use; 130: interrupted.
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
    """The arguments without --debug (anything after a lone -- is left alone), and whether it was there."""
    words = list(arguments)
    end = words.index("--") if "--" in words else len(words)
    return [word for word in words[:end] if word != "--debug"] + words[end:], "--debug" in words[:end]


def _of_system(error: OSError) -> ZadsError:
    """What the system refused, and of which file."""
    files = [str(name) for name in (error.filename, error.filename2) if name is not None]
    made = ZadsError(": ".join([*files, error.strerror or str(error) or type(error).__name__]))
    return made.with_traceback(error.__traceback__)


def _fail(error: ZadsError, debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    sys.stderr.write(f"zads: {shown.plain(' '.join(str(error).split()))}\n")
    return 1


def main() -> NoReturn:
    """The entry point of the ``zads`` program."""
    shown.settle()
    status = run(sys.argv[1:])
    if problem := shown.flush():
        status = _fail(ZadsError(problem), debug=False)
    sys.exit(status)


if __name__ == "__main__":
    main()
