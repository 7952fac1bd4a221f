#!/usr/bin/env python3
"""Show what your filters counted and where they failed: python3 -m pip install confluent-kafka.

First each filter's counts of each night, then each alert on which a filter failed, with the reason. What is kept: seven
days, and at most twenty failures of a filter in a visit. Counts are at most a minute old.
"""

from __future__ import annotations

import argparse
import json
import sys

import kit

kit.need("confluent_kafka", "confluent-kafka")

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition  # noqa: E402

TOPIC = "ztf_owner_{user}"
COUNTED = ("seen", "passed", "capped", "failed")


def records(settings: dict[str, str], topic: str):
    """Every record that is there now."""
    more = {"group.id": f"{settings['sasl.username']}-filters", "enable.partition.eof": True, "log_level": 0}
    consumer = Consumer({**settings, **more})  # never joins the group
    try:
        about = consumer.list_topics(topic, timeout=kit.WAIT_SECONDS).topics[topic]
        if about.error:
            raise KafkaException(about.error)
        consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in about.partitions])
        unread = set(about.partitions)
        while unread:
            message = consumer.poll(kit.WAIT_SECONDS)
            error = KafkaError(KafkaError._TIMED_OUT) if message is None else message.error()
            if error is None:
                yield message
            elif error.code() == KafkaError._PARTITION_EOF:
                unread.discard(message.partition())
            else:
                raise KafkaException(error)
    finally:
        consumer.close()


def show(counts: list[dict], failures: list[dict[str, str]], *, whole: bool) -> None:
    """Print both, a line each; `whole`: each failure with its traceback."""
    totals: dict[tuple[str, str], dict[str, int]] = {}
    for record in counts:
        for night, row in record["nights"].items():
            total = totals.setdefault((night, record["filter"]), dict.fromkeys(COUNTED, 0))
            for word in COUNTED:
                total[word] += row.get(word, 0)
    for (night, name), total in sorted(totals.items()):
        print(f"{night} {name}: {', '.join(f'{number} {word}' for word, number in total.items())}")
    for record in counts:
        if record["circuit"] != "closed":
            print(f"{record['filter']}: its circuit is {record['circuit']}: it rests after too many failures")
    for one in failures:
        lines = one.get("reason", "").strip().splitlines() or ["no reason given"]
        print(f"{one['filter']} failed on {one.get('candid', '')}:", *(lines if whole else lines[-1:]), sep="\n  ")


def main() -> None:
    """Read the topic, then print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--whole", action="store_true", help="show each failure with its traceback")
    whole = parser.parse_args().whole
    settings = kit.settings()
    topic = TOPIC.format(user=settings["sasl.username"])
    newest: dict[bytes, dict] = {}
    failures = []
    try:
        for message in records(settings, topic):
            headers = {name: value.decode(errors="replace") for name, value in message.headers() or ()}
            if headers.get("_format") == "json":
                newest[message.key()] = json.loads(message.value())
            else:
                failures.append(headers)
    except KafkaException as error:
        sys.exit(f"my_filters.py: cannot read {topic}: {error.args[0].str()} (do you own a filter? kcat.sh -L)")
    show(list(newest.values()), failures, whole=whole)


if __name__ == "__main__":
    main()
