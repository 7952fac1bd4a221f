#!/usr/bin/env python3
"""Read alerts with hop-client: python3 -m pip install hop-client six (hop needs six, but does not declare it).

hop connects to one broker only and cannot subscribe to patterns: it reads the topics that exist when it starts.
"""

from __future__ import annotations

import kit

kit.need("six", "six")
kit.need("hop", "hop-client")

from adc.consumer import LogicalOffset  # noqa: E402
from confluent_kafka import KafkaException  # noqa: E402
from hop import Stream  # noqa: E402
from hop.auth import Auth  # noqa: E402
from hop.io import StartPosition  # noqa: E402
from hop.models import AvroBlob  # noqa: E402


def read(output: kit.Output) -> None:
    """Read until the end, the count or Ctrl-C."""
    settings, options = kit.settings(), output.options
    there = output.awaited()
    auth = Auth(settings["sasl.username"], settings["sasl.password"], ssl_ca_location=settings["ssl.ca.location"])
    words = {None: None, "beginning": LogicalOffset.BEGINNING, "now": LogicalOffset.END}
    start = kit.time_of(options.start) if isinstance(options.start, int) else words[options.start]
    stream = Stream(auth=auth, start_at=StartPosition.EARLIEST, until_eos=options.end)  # for a new group
    broker = settings["bootstrap.servers"].split(",")[0]
    kit.say(f"group {options.group}: {', '.join(there)}")
    try:
        with stream.open(f"kafka://{broker}/{','.join(there)}", "r", group_id=options.group) as messages:
            for alert, where in messages.read(metadata=True, autocommit=False, start_at=start):
                if not isinstance(alert, AvroBlob):  # hop learns it from a header
                    kit.say(f"{where.topic} {where.partition} {where.offset}: hop does not see that it is Avro")
                with output.whole():
                    output.take(where.topic, where.partition, where.offset, where._raw.value())
                    messages.mark_done(where)  # at least once: what is not marked comes again
                if output.full:
                    break
    except KafkaException as error:
        output.fail_for(error)


if __name__ == "__main__":
    kit.run(read, kit.Output(kit.options("hop", __doc__)))
