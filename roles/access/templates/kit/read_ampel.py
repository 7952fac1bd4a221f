#!/usr/bin/env python3
"""Read alerts with Ampel's loader of ZTF's stream: python3 -m pip install ampel-ztf confluent-kafka.

It reads all nights of programme 1 (and 2, if granted), and ends when no alert has come for some seconds.
"""

from __future__ import annotations

import kit

kit.need("ampel.ztf", "ampel-ztf")
kit.need("confluent_kafka", "confluent-kafka")

from ampel.ztf.t0.load.AllConsumingConsumer import KafkaError  # noqa: E402
from ampel.ztf.t0.load.UWAlertLoader import UWAlertLoader  # noqa: E402


def read(output: kit.Output) -> None:
    """Read until nothing more comes, the count or Ctrl-C."""
    settings, options, errors = kit.settings(), output.options, []
    nights = [name for name in kit.granted() if "programid" in name]
    if not nights or options.topics != kit.granted():
        raise SystemExit("read_ampel.py: Ampel's loader reads all of your nights: name no topic")
    output.options.topics = nights
    output.awaited()
    properties = {name: value for name, value in settings.items() if name != "bootstrap.servers"}
    loader = UWAlertLoader(
        bootstrap=settings["bootstrap.servers"],
        stream="ztf_uw_private" if any("2" in name.rpartition("programid")[2] for name in nights) else "ztf_uw_public",
        group_name=options.group,  # its default is random, and refused
        timeout=kit.WAIT_SECONDS,
        kafka_consumer_properties={**properties, "error_cb": lambda e: errors.append(f"{e.name()} {e.str()}")},
    )
    kit.say(f"group {options.group}-{loader.stream}: {', '.join(nights)}")
    try:
        for number, packet in enumerate(loader.alerts(options.count or None)):
            output.take("ampel", 0, number, packet.getvalue())
    except KafkaError as error:
        output.fail_for(error)
    finally:
        for text in errors:
            output.fail(text)
        loader._consumer._consumer.close()


if __name__ == "__main__":
    kit.run(read, kit.Output(kit.options("ampel", __doc__)))
