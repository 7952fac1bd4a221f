#!/usr/bin/env python3
"""Read alerts with confluent-kafka: python3 -m pip install confluent-kafka fastavro."""

from __future__ import annotations

import kit

kit.need("confluent_kafka", "confluent-kafka")
kit.need("fastavro", "fastavro")

from confluent_kafka import Consumer, KafkaError, TopicPartition  # noqa: E402


class Reader:
    """One member of a group. An alert counts as read when `Output.take` has returned: at least once, never lost."""

    def __init__(self, output: kit.Output) -> None:
        self.output, self.options = output, output.options
        self.errors: list[KafkaError] = []
        self.assigned: set[tuple[str, int]] = set()
        self.ended: set[tuple[str, int]] = set()
        self.consumer = Consumer(
            {
                **kit.settings(),
                "group.id": self.options.group,
                "enable.auto.offset.store": False,  # only what `store_offsets` got is committed
                "enable.partition.eof": self.options.end,
                "error_cb": self.errors.append,
                "log_level": 2,  # error_cb gets what matters
            }
        )

    def check(self) -> None:
        """End the program for an error that waiting does not end. Only `error_cb` shows a wrong password."""
        for error in self.errors:
            self.output.fail(f"{error.name()} {error.str()}")
            if error.code() == KafkaError._ALL_BROKERS_DOWN:
                kit.say("no broker answers; tries again")
        self.errors.clear()

    def assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Called for new partitions: begin where the group stopped, or where --start says."""
        committed = consumer.committed(partitions, timeout=kit.WAIT_SECONDS)
        self.assigned = {(one.topic, one.partition) for one in partitions}
        self.ended.clear()
        self.output.begins({(one.topic, one.partition): one.offset >= 0 for one in committed})
        if self.options.start is not None and partitions:
            begin = [TopicPartition(p.topic, p.partition, self.offset(p)) for p in partitions]
            consumer.assign(begin)
            consumer.commit(offsets=begin, asynchronous=False)  # kept even if another member reads on
            self.options.start = None

    def offset(self, one: TopicPartition) -> int:
        """Where --start begins a partition."""
        first, end = self.consumer.get_watermark_offsets(one, timeout=kit.WAIT_SECONDS)
        if isinstance(self.options.start, str):
            return first if self.options.start == "beginning" else end
        wanted = TopicPartition(one.topic, one.partition, self.options.start)
        found = self.consumer.offsets_for_times([wanted], timeout=kit.WAIT_SECONDS)[0].offset
        return found if found >= 0 else end

    def read(self) -> None:
        """Read until the end, the count or Ctrl-C."""
        there = self.output.wanted(kit.available(self.output))
        if not there:
            self.options.start = None  # no topic yet: every alert will be new
        self.consumer.subscribe(there if self.options.end else self.options.topics, on_assign=self.assign)
        while not self.output.full and not (self.assigned and self.ended >= self.assigned):
            message = self.consumer.poll(1)
            self.check()
            if message is None:
                continue
            error = message.error()
            if error is None:
                with self.output.whole():
                    self.output.take(message.topic(), message.partition(), message.offset(), message.value())
                    self.consumer.store_offsets(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                self.ended.add((message.topic(), message.partition()))
            elif error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:  # no topic matches yet, as reported before
                self.output.fail(f"{error.name()} {error.str()}")
                kit.say(f"goes on after: {error.str()}")


def read(output: kit.Output) -> None:
    """Read, then leave the group: that commits what was read."""
    reader = Reader(output)
    try:
        reader.read()
    finally:
        reader.consumer.close()


if __name__ == "__main__":
    kit.run(read, kit.Output(kit.options("confluent-kafka", __doc__)))
