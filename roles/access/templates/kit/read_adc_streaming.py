#!/usr/bin/env python3
"""Read alerts with adc-streaming: python3 -m pip install adc-streaming fastavro.

This library cannot subscribe to patterns and does not share partitions: it reads all of the topics that exist when it
starts.
"""

from __future__ import annotations

import kit

kit.need("adc", "adc-streaming")
kit.need("fastavro", "fastavro")

from adc.auth import SASLAuth, SASLMethod  # noqa: E402
from adc.consumer import Consumer, ConsumerConfig, LogicalOffset  # noqa: E402
from confluent_kafka import KafkaException  # noqa: E402


def read(output: kit.Output) -> None:
    """Read until the end, the count or Ctrl-C."""
    settings, options, errors = kit.settings(), output.options, []
    there = output.awaited()
    kit.say(f"group {options.group}: {', '.join(there)}")
    auth = SASLAuth(
        settings["sasl.username"],
        settings["sasl.password"],
        method=SASLMethod[settings["sasl.mechanism"].replace("-", "_")],
        ssl_ca_location=settings["ssl.ca.location"],
    )
    consumer = Consumer(
        ConsumerConfig(
            broker_urls=settings["bootstrap.servers"].split(","),
            group_id=options.group,
            read_forever=not options.end,
            auth=auth,
            error_callback=lambda error: errors.append(f"{error.name()} {error.str()}"),
        )
    )
    try:
        consumer.subscribe(there)
        words = {None: None, "beginning": LogicalOffset.BEGINNING, "now": LogicalOffset.END}
        start = kit.time_of(options.start) if isinstance(options.start, int) else words[options.start]
        for message in consumer.stream(autocommit=False, start_at=start):
            with output.whole():
                output.take(message.topic(), message.partition(), message.offset(), message.value())
                consumer.mark_done(message)  # at least once: what is not marked comes again
            if output.full:
                break
    except (KafkaException, ValueError) as error:
        for text in errors:
            output.fail(text)
        output.fail_for(error)
    finally:
        consumer.close()


if __name__ == "__main__":
    kit.run(read, kit.Output(kit.options("adc-streaming", __doc__)))
