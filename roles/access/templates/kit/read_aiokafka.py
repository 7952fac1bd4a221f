#!/usr/bin/env python3
"""Read alerts with aiokafka: python3 -m pip install 'aiokafka[zstd]' fastavro."""

from __future__ import annotations

import asyncio
import ssl

import kit

kit.need("aiokafka", "aiokafka[zstd]")
kit.need("cramjam", "aiokafka[zstd]")  # the stream is compressed by zstd
kit.need("fastavro", "fastavro")

from aiokafka import AIOKafkaConsumer, TopicPartition  # noqa: E402
from aiokafka.errors import KafkaError  # noqa: E402


def consumer_for(options: kit.Options) -> AIOKafkaConsumer:
    """A consumer with the kit's settings, by this library's names."""
    settings = kit.settings()
    return AIOKafkaConsumer(
        bootstrap_servers=settings["bootstrap.servers"].split(","),
        security_protocol=settings["security.protocol"],
        ssl_context=ssl.create_default_context(cafile=settings["ssl.ca.location"]),
        sasl_mechanism=settings["sasl.mechanism"],
        sasl_plain_username=settings["sasl.username"],
        sasl_plain_password=settings["sasl.password"],
        isolation_level=settings["isolation.level"],
        auto_offset_reset=settings["auto.offset.reset"],
        group_id=options.group,
        enable_auto_commit=False,  # this program commits what it has read
        metadata_max_age_ms=10_000,  # between searches for new topics
    )


async def begin(consumer: AIOKafkaConsumer, output: kit.Output) -> None:
    """Called for new partitions: begin where the group stopped, or where --start says."""
    assigned, options = sorted(consumer.assignment()), output.options
    output.begins({tuple(one): await consumer.committed(one) is not None for one in assigned})
    if options.start is not None and assigned:
        start = await offsets(consumer, assigned, options.start)
        for one, offset in start.items():
            consumer.seek(one, offset)
        await consumer.commit(start)  # the group keeps this position even if another member reads on
        options.start = None


async def offsets(
    consumer: AIOKafkaConsumer, partitions: list[TopicPartition], start: str | int
) -> dict[TopicPartition, int]:
    """Where --start begins each partition."""
    if start == "beginning":
        return await consumer.beginning_offsets(partitions)
    ends = await consumer.end_offsets(partitions)
    if start == "now":
        return ends
    found = await consumer.offsets_for_times(dict.fromkeys(partitions, start))
    return {one: found[one].offset if found[one] else ends[one] for one in partitions}


async def at_end(consumer: AIOKafkaConsumer, ends: dict[TopicPartition, int]) -> bool:
    """Whether everything has been read that was there in the beginning."""
    assigned = consumer.assignment()
    if new := [one for one in assigned if one not in ends]:
        ends.update(await consumer.end_offsets(new))
    return bool(assigned) and all([await consumer.position(one) >= ends[one] for one in assigned])


async def follow(output: kit.Output, consumer: AIOKafkaConsumer) -> None:
    """Read until the end, the count or Ctrl-C."""
    if not output.wanted(await consumer.topics()):
        output.options.start = None  # no topic yet: every alert will be new
    consumer.subscribe(pattern=kit.expression(output.options.topics))
    ends: dict[TopicPartition, int] = {}
    known: frozenset[TopicPartition] = frozenset()
    while not output.full:
        batch = await consumer.getmany(timeout_ms=1000, max_records=output.left)
        if consumer.assignment() != known:
            known, moved = consumer.assignment(), output.options.start is not None
            await begin(consumer, output)
            if moved:
                continue  # these alerts are from the group's old position
        if batch:
            with output.whole():
                for one in (record for records in batch.values() for record in records):
                    output.take(one.topic, one.partition, one.offset, one.value)
                await consumer.commit()  # at least once: what is not committed comes again
        elif output.options.end and await at_end(consumer, ends):
            break


async def session(output: kit.Output) -> None:
    """Connect, read, leave the group."""
    consumer = consumer_for(output.options)
    try:
        await consumer.start()
        await follow(output, consumer)
    except KafkaError as error:
        output.fail_for(error)
    finally:
        await consumer.stop()


if __name__ == "__main__":
    kit.run(lambda output: asyncio.run(session(output)), kit.Output(kit.options("aiokafka", __doc__)))
