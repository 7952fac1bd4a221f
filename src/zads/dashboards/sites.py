"""The dashboard of the sites: brokers, partitions, disks, certificates, and the brokers' own figures."""

from __future__ import annotations

from zads.dashboards.panel import Dashboard, Panel, Query, Row

_BAD_AT_ONE = ((1, "red"),)

SITES = Dashboard(
    "zads-sites",
    "ZADS: Sites and brokers",
    "Whether each site is whole, how full it is, and how busy.",
    (
        Row(
            "Whole",
            (
                Panel(
                    "Brokers up",
                    (Query("sum by (site) (zads_broker_up)", "{{site}}"),),
                    "Brokers of the inventory that are registered.",
                    kind="stat",
                    width=6,
                ),
                Panel(
                    "Partitions that refuse writes",
                    (Query("zads_site_partitions_under_minimum", "{{site}}"),),
                    "Too few replicas are in sync.",
                    kind="stat",
                    width=6,
                    steps=_BAD_AT_ONE,
                ),
                Panel(
                    "Partitions that lack a replica",
                    (Query("zads_site_partitions_under_replicated", "{{site}}"),),
                    "They can be written and read.",
                    kind="stat",
                    width=6,
                    steps=((1, "orange"),),
                ),
                Panel(
                    "Partitions without a leader",
                    (Query("zads_site_partitions_leaderless", "{{site}}"),),
                    "They can be neither written nor read.",
                    kind="stat",
                    width=6,
                    steps=_BAD_AT_ONE,
                ),
                Panel(
                    "Leaders",
                    (Query("zads_broker_leaders", "{{host}}"),),
                    "Partitions that each broker leads.",
                    width=8,
                ),
                Panel(
                    "Replicas out of sync",
                    (Query("zads_broker_replicas_out_of_sync", "{{host}}"),),
                    "Of each broker.",
                    width=8,
                ),
                Panel(
                    "Controller",
                    (Query("zads_site_controller", "{{site}}"),),
                    "The number of the broker that is the controller; -1: none.",
                    width=8,
                ),
            ),
        ),
        Row(
            "Full",
            (
                Panel(
                    "Days left",
                    (Query("min by (host) (zads_disk_days_left)", "{{host}}"),),
                    "If each day brings as much as the busiest of the last week. 365: a year or more.",
                    "d",
                    "bargauge",
                    8,
                    ((0, "red"), (3, "orange"), (14, "green")),
                ),
                Panel(
                    "Free",
                    (Query("zads_disk_free_bytes / zads_disk_bytes", "{{host}} {{path}}"),),
                    "The part of each disk that is free. Below a tenth an alarm rings.",
                    "percentunit",
                    "bargauge",
                    8,
                    ((0, "red"), (0.1, "orange"), (0.2, "green")),
                ),
                Panel(
                    "Days until certificates expire",
                    (
                        Query("min by (site) (zads_certificate_days)", "{{site}}, brokers"),
                        Query("zads_authority_days", "{{site}}, authority"),
                    ),
                    "The first to expire. A deployment renews the brokers'.",
                    "d",
                    "bargauge",
                    8,
                    ((0, "red"), (21, "green")),
                ),
                Panel(
                    "Used by Kafka",
                    (Query("sum by (host) (zads_disk_used_bytes)", "{{host}}"),),
                    "Bytes of all replicas of each broker.",
                    "bytes",
                    width=12,
                ),
                Panel(
                    "The brokers' clocks",
                    (Query("zads_nights_clock_offset_seconds", "{{site}}"),),
                    "By how much they are ahead of the night keeper's.",
                    "s",
                    width=12,
                ),
            ),
        ),
        Row(
            "Busy",
            (
                Panel(
                    "Received from clients",
                    (Query("sum by (instance) (rate(kafka_received_bytes_total[5m]))", "{{instance}}"),),
                    "Bytes a second.",
                    "Bps",
                ),
                Panel(
                    "Sent to clients",
                    (Query("sum by (instance) (rate(kafka_sent_bytes_total[5m]))", "{{instance}}"),),
                    "Bytes a second.",
                    "Bps",
                ),
                Panel(
                    "Slow requests",
                    (
                        Query(
                            'max by (instance, request) (kafka_request_seconds{quantile="0.99"})',
                            "{{instance}} {{request}}",
                        ),
                    ),
                    "99 % of the requests took less. Fetches wait for records, so theirs may be long.",
                    "s",
                ),
                Panel(
                    "Request threads are idle",
                    (Query("kafka_request_handlers_idle_ratio", "{{instance}}"),),
                    "The part of the time in which the threads have nothing to do.",
                    "percentunit",
                ),
                Panel(
                    "Refused log-ins",
                    (Query("sum by (instance) (increase(kafka_failed_authentications_total[5m]))", "{{instance}}"),),
                    "Clients without a valid password or certificate, in five minutes.",
                    quiet=True,
                ),
                Panel(
                    "Heap",
                    (
                        Query(
                            'jvm_memory_used_bytes{area="heap"} / jvm_memory_max_bytes{area="heap"}',
                            "{{job}} {{instance}}",
                        ),
                    ),
                    "The part of each Java heap that is used.",
                    "percentunit",
                ),
            ),
        ),
    ),
)
