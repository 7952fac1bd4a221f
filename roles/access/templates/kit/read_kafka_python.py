#!/usr/bin/env python3
"""Read alerts with kafka-python: python3 -m pip install 'kafka-python[zstd]' fastavro."""

from __future__ import annotations

import kit

kit.need("kafka", "kafka-python[zstd]")
kit.need("zstandard", "kafka-python[zstd]")  # the stream is compressed by zstd
kit.need("fastavro", "fastavro")

from kafka import KafkaConsumer, TopicPartition  # noqa: E402
from kafka.errors import KafkaError  # noqa: E402


def connect(options: kit.Options) -> KafkaConsumer:
    """A consumer with the kit's settings, by this library's names."""
    settings = kit.settings()
    return KafkaConsumer(
        bootstrap_servers=settings["bootstrap.servers"].split(","),
        security_protocol=settings["security.protocol"],
        ssl_cafile=settings["ssl.ca.location"],
        sasl_mechanism=settings["sasl.mechanism"],
        sasl_plain_username=settings["sasl.username"],
        sasl_plain_password=settings["sasl.password"],
        isolation_level=settings["isolation.level"],
        auto_offset_reset=settings["auto.offset.reset"],
        group_id=options.group,
        enable_auto_commit=False,  # this program commits what it has read
        metadata_max_age_ms=10_000,  # between searches for new topics
        bootstrap_timeout_ms=kit.WAIT_SECONDS * 1000,
    )


def begin(consumer: KafkaConsumer, output: kit.Output) -> None:
    """Called for new partitions: begin where the group stopped, or where --start says."""
    assigned, options = sorted(consumer.assignment()), output.options
    output.begins({tuple(one): consumer.committed(one) is not None for one in assigned})
    if options.start is not None and assigned:
        for one, offset in offsets(consumer, assigned, options.start).items():
            consumer.seek(one, offset)
        consumer.commit()  # the group keeps this position even if another member reads on
        options.start = None


def offsets(consumer: KafkaConsumer, partitions: list[TopicPartition], start: str | int) -> dict[TopicPartition, int]:
    """Where --start begins each partition."""
    if start == "beginning":
        return consumer.beginning_offsets(partitions)
    ends = consumer.end_offsets(partitions)
    if start == "now":
        return ends
    found = consumer.offsets_for_times(dict.fromkeys(partitions, start))
    return {one: found[one].offset if found[one] else ends[one] for one in partitions}


def at_end(consumer: KafkaConsumer, ends: dict[TopicPartition, int]) -> bool:
    """Whether everything has been read that was there in the beginning."""
    assigned = consumer.assignment()
    ends.update(consumer.end_offsets([one for one in assigned if one not in ends]))
    return bool(assigned) and all(consumer.position(one) >= ends[one] for one in assigned)


def follow(consumer: KafkaConsumer, output: kit.Output) -> None:
    """Read until the end, the count or Ctrl-C."""
    if not output.wanted(consumer.topics()):
        output.options.start = None  # no topic yet: every alert will be new
    consumer.subscribe(pattern=kit.expression(output.options.topics))
    ends: dict[TopicPartition, int] = {}
    known: set[TopicPartition] = set()
    while not output.full:
        batch = consumer.poll(timeout_ms=1000, max_records=output.left)
        if consumer.assignment() != known:
            known, moved = consumer.assignment(), output.options.start is not None
            begin(consumer, output)
            if moved:
                continue  # these alerts are from the group's old position
        if batch:
            with output.whole():
                for one in (record for records in batch.values() for record in records):
                    output.take(one.topic, one.partition, one.offset, one.value)
                consumer.commit()  # at least once: what is not committed comes again
        elif output.options.end and at_end(consumer, ends):
            break


def read(output: kit.Output) -> None:
    """Connect, read, leave the group."""
    try:
        consumer = connect(output.options)
    except KafkaError as error:
        output.fail_for(error)
    try:
        follow(consumer, output)
    except KafkaError as error:
        output.fail_for(error)
    finally:
        consumer.close()


if __name__ == "__main__":
    kit.run(read, kit.Output(kit.options("kafka-python", __doc__)))
