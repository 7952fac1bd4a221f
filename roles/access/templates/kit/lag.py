#!/usr/bin/env python3
"""Show how many alerts each of your consumer groups has yet to read: python3 -m pip install confluent-kafka.

Alerts, group and topic, a line for each topic in which a group has been. No group is changed.
"""

from __future__ import annotations

import argparse
import re
import sys
import time

import kit

kit.need("confluent_kafka", "confluent-kafka")

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition  # noqa: E402
from confluent_kafka.admin import AdminClient  # noqa: E402

#: If at most this number of offsets is left, the alerts are counted: some offsets are marks of transactions.
FEW = 16


def left(consumer: Consumer, place: TopicPartition, end: int) -> int:
    """Alerts of a partition from the offset of `place` to `end`. More than FEW: the offsets, so perhaps too many."""
    if not 0 < end - place.offset <= FEW:
        return max(end - place.offset, 0)
    consumer.assign([place])
    count, until = 0, time.monotonic() + kit.WAIT_SECONDS
    while time.monotonic() < until:
        message = consumer.poll(0.5)
        if message is None:
            continue
        if message.error() is not None:
            if message.error().code() == KafkaError._PARTITION_EOF:
                return count
            raise KafkaException(message.error())
        count += message.offset() < end
        if message.offset() >= end - 1:
            return count
    raise KafkaException(KafkaError(KafkaError._TIMED_OUT))


def lags(group: str, settings: dict[str, str]) -> dict[str, int]:
    """Alerts yet to read in each topic where the group has been."""
    own = {"group.id": group, "enable.partition.eof": True, "fetch.wait.max.ms": 20, "enable.auto.commit": False}
    consumer = Consumer({**settings, **own, "log_level": 0})  # never joins the group
    try:
        topics = consumer.list_topics(timeout=kit.WAIT_SECONDS).topics
        every = [TopicPartition(name, number) for name, one in topics.items() for number in one.partitions]
        answer = consumer.committed(every, timeout=kit.WAIT_SECONDS)
        committed = {(one.topic, one.partition): one.offset for one in answer}
        found: dict[str, int] = {}
        for one in every:
            if any(offset >= 0 for (topic, _), offset in committed.items() if topic == one.topic):
                first, end = consumer.get_watermark_offsets(one, timeout=kit.WAIT_SECONDS)
                began = max(committed[one.topic, one.partition], first)
                place = TopicPartition(one.topic, one.partition, began)
                found[one.topic] = found.get(one.topic, 0) + left(consumer, place, end)
        return found
    finally:
        consumer.close()


def main() -> None:
    """Print the lines."""
    settings, errors = kit.settings(), []
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help="names (all of yours that the brokers know)")
    groups = parser.parse_args().groups
    admin = AdminClient({**settings, "log_level": 0, "error_cb": lambda e: errors.append(f"{e.name()} {e.str()}")})
    try:
        if not groups:
            listed = admin.list_consumer_groups(request_timeout=kit.WAIT_SECONDS).result()
            if listed.errors:  # one broker has not said which groups it has
                raise listed.errors[0]
            groups = sorted(one.group_id for one in listed.valid)
        for group in groups:
            for topic, number in sorted(lags(group, settings).items()):
                print(f"{number:8} {group} {topic}", flush=True)
    except KafkaException as error:
        admin.poll(0)  # serves error_cb: only there a wrong password is reported
        text = " ".join([*errors, f"{error.args[0].name()} {error.args[0].str()}"])
        user = settings["sasl.username"]
        for name, spelling in kit.SPELLINGS.items():
            if re.search(spelling, text):
                sys.exit(f"lag.py: {kit.REASONS[name].format(user=user, group=', '.join(groups), topics='a topic')}")
        sys.exit(f"lag.py: {settings['bootstrap.servers']} do not answer: {error.args[0].str()} (kcat.sh -L)")


if __name__ == "__main__":
    main()
