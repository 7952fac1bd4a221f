"""What the Python programs of this kit share: the settings beside them, their command line, and what they print."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import importlib
import io
import logging
import os
import re
import signal
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
WAIT_SECONDS = 15  # for an answer of the brokers
NEW_TOPIC_SECONDS = 10  # between searches for a new night

#: Errors of the brokers and the clients, and what they mean. {group}, {topics} and {user} are filled in.
REASONS = {
    "AuthenticationFailed": "the brokers refuse the password of {user}: ask the operators for the newest kit",
    "GroupAuthorizationFailed": "the group {group} is not yours: name it {user}, or {user}- and anything",
    "TopicAuthorizationFailed": "{topics}: not granted to {user}, or not there yet (see topics.txt)",
    "certificate verify failed": "the brokers' certificate is not of the authority in ca.pem: ask for the newest kit",
}
#: How the libraries spell these errors.
SPELLINGS = {
    "AuthenticationFailed": r"_AUTHENTICATION\b|SaslAuthenticationFailed|Authentication ?Failed",
    "GroupAuthorizationFailed": r"GROUP_AUTHORIZATION_FAILED|GroupAuthorization|Group authorization failed",
    "TopicAuthorizationFailed": r"TOPIC_AUTHORIZATION_FAILED|TopicAuthorization|Topic authorization failed",
    "certificate verify failed": r"certificate verify failed|CERTIFICATE_VERIFY_FAILED",
}


def say(text: str) -> None:
    """Print a message to standard error; the alerts themselves go to standard output."""
    print(text, file=sys.stderr, flush=True)


def need(module: str, package: str) -> None:
    """If a module is missing, end the program with one line that says what to install."""
    try:
        importlib.import_module(module)
    except ImportError:
        sys.exit(f"{Path(sys.argv[0]).name}: needs {module}: python3 -m pip install '{package}'")


def settings() -> dict[str, str]:
    """The properties in librdkafka.properties; the certificate's path is made absolute."""
    found = {}
    for line in (HERE / "librdkafka.properties").read_text("utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            name, _, value = line.partition("=")
            found[name.strip()] = value.strip()
    found["ssl.ca.location"] = str(HERE / found["ssl.ca.location"])
    return found


def granted() -> list[str]:
    """The topics that you may read: names, and patterns that begin with ^."""
    lines = (HERE / "topics.txt").read_text("utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def moment(text: str) -> str | int:
    """``beginning``, ``now``, or a time in milliseconds since 1970. A time without a zone is UTC."""
    if text in ("beginning", "now"):
        return text
    try:
        found = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither beginning, now nor a time as 2018-11-29T04:00") from None
    return round((found if found.tzinfo else found.replace(tzinfo=datetime.timezone.utc)).timestamp() * 1000)


def time_of(milliseconds: int) -> datetime.datetime:
    """The UTC time of milliseconds since 1970."""
    return datetime.datetime.fromtimestamp(milliseconds / 1000, datetime.timezone.utc)


class Options(argparse.Namespace):
    """The command line."""

    topics: list[str]
    group: str
    start: str | int | None
    end: bool
    save: Path | None
    count: int


def options(program: str, about: str) -> Options:
    """Read the command line of one of the programs. Its default group is USER-PROGRAM."""
    user = settings()["sasl.username"]
    parser = argparse.ArgumentParser(description=about, epilog="See README.md, which lies beside this program.")
    parser.add_argument("topics", nargs="*", metavar="TOPIC", help="names, or ^patterns (all that you may read)")
    parser.add_argument("--group", default=f"{user}-{program}", help="the consumer group (%(default)s)")
    parser.add_argument(
        "--start", type=moment, metavar="beginning|now|TIME",
        help="first move the group there (default: where it stopped; a new group begins with the oldest alert)",
    )  # fmt: skip
    parser.add_argument("--end", action="store_true", help="stop at the end of what is there now, else wait for more")
    parser.add_argument("--count", type=int, default=0, metavar="N", help="stop after N alerts")
    parser.add_argument("--save", type=Path, metavar="DIR", help="write each packet to DIR/TOPIC-PARTITION-OFFSET.avro")
    found = parser.parse_args(namespace=Options())
    found.topics = found.topics or granted()
    if not found.topics:
        sys.exit(f"{Path(sys.argv[0]).name}: nothing is granted to {user}: ask the operators")
    return found


def matching(wanted: list[str], available: set[str]) -> list[str]:
    """The available names that are wanted, by name or by a pattern that begins with ^."""
    return sorted(
        name for name in available if any(re.match(w, name) if w.startswith("^") else w == name for w in wanted)
    )


def available(output: Output) -> set[str]:
    """The topics that the brokers show to you. It asks by confluent-kafka, on which several libraries are built."""
    from confluent_kafka import Consumer, KafkaException

    errors: list[str] = []
    asking = {"group.id": output.options.group, "log_level": 0}
    consumer = Consumer({**settings(), **asking, "error_cb": lambda e: errors.append(f"{e.name()} {e.str()}")})
    deadline = time.monotonic() + WAIT_SECONDS
    try:
        while True:
            try:
                return set(consumer.list_topics(timeout=2).topics)
            except KafkaException as error:
                consumer.poll(0)  # calls error_cb, which alone receives a wrong password
                for text in errors:
                    output.fail(text)
                if time.monotonic() > deadline:
                    output.fail_for(error.args[0].str())
    finally:
        consumer.close()


def expression(wanted: list[str]) -> str:
    """One regular expression for all that is wanted."""
    return "|".join(w if w.startswith("^") else f"^{re.escape(w)}$" for w in wanted)


class Output:
    """Prints each alert, saves it if asked to, and counts it. Ends the program by `SystemExit` with one line."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.read = 0
        self._log = _Log()
        logging.getLogger().addHandler(self._log)
        self._busy = self._interrupted = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._interrupt)
        if options.save:
            options.save.mkdir(parents=True, exist_ok=True)

    def wanted(self, available: set[str]) -> list[str]:
        """The available topics that are wanted. Ends the program if a named one is missing; says if there are none."""
        if missing := [name for name in self.options.topics if not name.startswith("^") and name not in available]:
            self.fail("TopicAuthorizationFailed", missing)
        found = matching(self.options.topics, available)
        if not found and self.options.end:
            say(f"no topic matches {' or '.join(self.options.topics)} yet: nothing to read")
            raise SystemExit(0)
        if not found:
            say(f"no topic matches {' or '.join(self.options.topics)} yet: waiting for one (Ctrl-C ends)")
        return found

    def awaited(self) -> list[str]:
        """As `wanted`, but waits for a topic, for a library that cannot do so itself."""
        there = self.wanted(available(self))
        while not there:
            time.sleep(NEW_TOPIC_SECONDS)
            there = matching(self.options.topics, available(self))
        return there

    def begins(self, partitions: dict[tuple[str, int], bool]) -> None:
        """Report where reading begins. `partitions`: (topic, partition) -> whether the group has read it before."""
        resumed = sum(partitions.values())
        said = f"goes on in {resumed}, begins {len(partitions) - resumed} with the oldest alert"
        if isinstance(start := self.options.start, int):
            start = time_of(start).isoformat(" ")
        if start is not None:
            said = f"from {start}"
        names = ", ".join(sorted({topic for topic, _ in partitions})) or "no topic"
        say(f"group {self.options.group}: {len(partitions)} partitions of {names}; {said}")

    def take(self, topic: str, partition: int, offset: int, packet: bytes) -> None:
        """Print, save and count one alert: an Avro file with one record, as the survey made it."""
        import fastavro

        (alert,) = fastavro.reader(io.BytesIO(packet))
        jd, magnitude = alert["candidate"]["jd"], alert["candidate"]["magpsf"]
        print(f"{alert['objectId']} {alert['candid']} jd={jd:.5f} mag={magnitude:.2f}", flush=True)
        if self.options.save:
            (self.options.save / f"{topic}-{partition}-{offset}.avro").write_bytes(packet)
        self.read += 1

    def _interrupt(self, *_: object) -> None:
        """Ctrl-C or SIGTERM ends a program that waits, at once; the second one ends it anywhere."""
        if not self._busy or self._interrupted:
            raise KeyboardInterrupt
        self._interrupted = True

    @contextlib.contextmanager
    def whole(self):
        """The body runs to its end, commit included, before Ctrl-C ends the program."""
        self._busy = True
        try:
            yield
        finally:
            self._busy = False
        if self._interrupted:
            raise KeyboardInterrupt

    @property
    def full(self) -> bool:
        """Whether `--count` alerts have been read."""
        return 0 < self.options.count <= self.read

    @property
    def left(self) -> int | None:
        """How many alerts are left of `--count`; None if there is no limit."""
        return self.options.count - self.read if self.options.count else None

    def fail(self, error: object, topics: list[str] | None = None) -> None:
        """End the program with one line for an error, in any library's spelling, that waiting does not end."""
        text = f"{type(error).__name__ if isinstance(error, BaseException) else ''} {error}"
        for name, spelling in SPELLINGS.items():
            if name == error or re.search(spelling, text):
                user, wanted = settings()["sasl.username"], ", ".join(topics or self.options.topics)
                reason = REASONS[name].format(user=user, group=self.options.group, topics=wanted)
                raise SystemExit(f"{Path(sys.argv[0]).name}: {reason}")

    def fail_for(self, error: object) -> None:
        """End the program for this error, with the reason from the library's log if there is one."""
        self.fail(error)
        for line in self._log.lines:
            self.fail(line)
        brokers = settings()["bootstrap.servers"]
        raise SystemExit(f"{Path(sys.argv[0]).name}: cannot read from {brokers}: {error} (do they answer? kcat.sh -L)")


class _Log(logging.Handler):
    """Keeps what a library logs, since its exceptions often leave out the reason."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep lines with a known reason: of many attempts to connect, perhaps one shows it."""
        text = record.getMessage()
        if any(re.search(spelling, text) for spelling in SPELLINGS.values()):
            self.lines = [*self.lines[-9:], text]


def run(read, output: Output) -> None:
    """Call the program's own part. Whatever ends it, report how many alerts were read. Ctrl-C is no error."""
    try:
        read(output)
    except KeyboardInterrupt:
        pass
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    finally:
        say(f"{output.read} alerts read")
