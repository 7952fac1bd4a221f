"""The process in which an owner's filters run. The worker commands it, and kills it when it does not answer.

1. it closes the fence, loads the filters, each by itself, and sends what they declare;
2. for each batch it decodes every alert once, as far as any filter declares, and runs filter after filter;
3. each filter's result is handed over as soon as it is done, so that a later filter's death does not lose it.

The worker checks all answers (`zads.filters.verdicts`): whatever filters do to this process harms only their owner.
"""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Sequence

from zads import schemas
from zads.filters import fence, packages, shared_memory, wire
from zads.filters.runner import Runner


def prepare() -> None:
    """What every process of filters needs. Done before it is copied: later it may have no descriptor to open a file."""
    schemas.known()
    packages.prepare()


def serve(commands: int, answers: int, packets: int, memory: int) -> None:
    """Obey a worker over two pipes and two pieces of shared memory (all descriptors), until the worker is gone."""
    packages.prepare()
    area = memoryview(mmap.mmap(packets, shared_memory.PACKETS_BYTES, prot=mmap.PROT_READ))
    own = memoryview(mmap.mmap(memory, shared_memory.PROCESS_BYTES))
    os.close(packets)
    os.close(memory)
    words = own[: shared_memory.PAGE].cast("I")
    results = shared_memory.Results(words, own[shared_memory.PAGE :])
    runner = Runner(words, area, results, lambda answer: wire.send(answers, answer))
    sys.stdout = sys.stderr = runner.output
    reader = wire.Reader(commands, wire.MAX_COMMAND_BYTES)
    try:
        wire.send(answers, wire.Ready(True))
        while True:
            command = wire.command(reader.receive())
            if isinstance(command, wire.Load):
                runner.load(command)
            else:
                runner.run(command)
    except wire.ProtocolError:
        return


def main(arguments: Sequence[str]) -> None:
    """Serve the worker that started this process; the arguments are the descriptors that `serve` takes."""
    fence.die_with_parent()
    fence.hide()
    prepare()
    serve(*map(int, arguments))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        os._exit(0)
