"""quix-streams as a peer: the same hundred filters as one of its users writes them, without broker and network.

A program for the peers' environment. It reads packets from a directory. Each line of its input names a rule of `cuts`:
every packet then goes through what an application does with a polled message, its topic's deserialiser and the composed
data frame. It answers with a line of JSON: processor seconds, and the filters that passed each packet.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from contextvars import copy_context
from pathlib import Path
from typing import Any

import cuts
from quixstreams import Application
from quixstreams.context import set_message_context
from quixstreams.models import Deserializer, SerializationContext, Topic


class Packets(Deserializer):
    """Reads object container files, which quix-streams cannot."""

    def __call__(self, value: bytes, ctx: SerializationContext) -> dict[str, Any]:
        return cuts.read(value)


class Message:
    """A message as a consumer gives it."""

    def __init__(self, data: bytes, offset: int) -> None:
        self._data, self._offset = data, offset

    def headers(self) -> None:
        return None

    def key(self) -> bytes:
        return b"ZTF18abcdefg"

    def offset(self) -> int:
        return self._offset

    def partition(self) -> int:
        return 0

    def timestamp(self) -> tuple[int, int]:
        return 1, 1_543_500_000_000

    def topic(self) -> str:
        return "alerts"

    def value(self) -> bytes:
        return self._data

    def leader_epoch(self) -> int:
        return 0

    def error(self) -> None:
        return None

    def __len__(self) -> int:
        return len(self._data)


def program(rule: str, passed: list[list[int]]) -> Callable[[Message], None]:
    """What an application does with a polled message, without the network. The verdicts go to `passed`."""
    # The address is never used: a topic that the application does not create needs no broker.
    app = Application(broker_address="127.0.0.1:9", auto_create_topics=False, loglevel="CRITICAL")
    topic = Topic("alerts", value_deserializer=Packets())
    frame = app.dataframe(topic).apply(cuts.RULES[rule])
    run = frame.compose(sink=lambda value, key, timestamp, headers: passed.append(value))[topic.name]

    def process(message: Message) -> None:
        row = topic.row_deserialize(message)
        context = copy_context()
        context.run(set_message_context, row.context)
        context.run(run, row.value, row.key, row.timestamp, row.headers)

    return process


def main(directory: str) -> None:
    """Serve rounds until the input ends."""
    messages = [Message(path.read_bytes(), number) for number, path in enumerate(sorted(Path(directory).iterdir()))]
    passed: list[list[int]] = []
    programs = {rule: program(rule, passed) for rule in cuts.RULES}
    for line in sys.stdin:
        process = programs[line.strip()]
        passed.clear()
        begun = time.process_time()
        for message in messages:
            process(message)
        seconds = time.process_time() - begun
        sys.stdout.write(json.dumps({"seconds": seconds, "passed": passed}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
