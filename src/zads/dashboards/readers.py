"""The dashboard of those who read: filters and subscribers."""

from __future__ import annotations

from zads.dashboards.panel import Dashboard, Panel, Query, Row

READERS = Dashboard(
    "zads-readers",
    "ZADS: Filters and subscribers",
    "What filters pass, how long they take, and who is behind.",
    (
        Row(
            "Filters",
            (
                Panel(
                    "Stopped",
                    (Query("sum(zads_worker_circuit_open)", "filters"),),
                    "Filters that are not run because they failed too often.",
                    kind="stat",
                    width=4,
                    steps=((1, "red"),),
                ),
                Panel(
                    "Behind",
                    (Query('zads_group_behind_seconds{kind="filters"}', "{{owner}}"),),
                    "For how long the first alert has waited for a group of filters.",
                    "s",
                    width=10,
                ),
                Panel(
                    "Seen",
                    (Query("sum by (group) (rate(zads_worker_alerts_total[5m]))", "{{group}}"),),
                    "Alerts a second that each group of filters has read.",
                    width=10,
                ),
                Panel(
                    "Passed",
                    (Query("sum by (filter) (rate(zads_worker_passed_total[5m])) * 60", "{{filter}}"),),
                    "Alerts a minute that each filter passed.",
                ),
                Panel(
                    "Capped",
                    (Query("sum by (filter) (rate(zads_worker_capped_total[5m])) * 60", "{{filter}}"),),
                    "Alerts a minute that passed beyond a filter's cap, and were not published.",
                ),
                Panel(
                    "Failed",
                    (Query("sum by (filter) (increase(zads_worker_failed_total[5m]))", "{{filter}}"),),
                    "Alerts in five minutes on which a filter failed.",
                ),
                Panel(
                    "Time of filters",
                    (Query("sum by (filter) (rate(zads_worker_filter_run_seconds_total[5m]))", "{{filter}}"),),
                    "Seconds a second: at 1 a filter keeps a processor busy.",
                    "percentunit",
                    width=12,
                ),
                Panel(
                    "From the public site to the filters' results",
                    tuple(
                        Query(
                            f"histogram_quantile({part}, sum by (le) (rate(zads_worker_judged_seconds_bucket[5m])))",
                            shown,
                        )
                        for part, shown in ((0.5, "median"), (0.99, "99 %"))
                    ),
                    "How long an alert waits for all filters of a group.",
                    "s",
                    width=12,
                    quiet=True,
                ),
            ),
        ),
        Row(
            "Subscribers",
            (
                Panel(
                    "Behind",
                    (Query('topk(10, zads_group_behind_seconds{kind="user"})', "{{owner}}: {{group}}"),),
                    "For how long the first record that a group has yet to read has been at the site.",
                    "s",
                    width=12,
                    quiet=True,
                ),
                Panel(
                    "Lag",
                    (Query('topk(10, zads_group_lag_offsets{kind="user"})', "{{owner}}: {{group}}"),),
                    "Offsets that a group has yet to read.",
                    width=12,
                    quiet=True,
                ),
                Panel(
                    "Groups",
                    (Query("zads_groups", "{{site}}"),),
                    "Consumer groups that a site knows, those without members among them.",
                    kind="stat",
                    width=6,
                ),
                Panel(
                    "All groups",
                    (Query("sort_desc(zads_group_behind_seconds)"),),
                    "Every group with members, and how far it is behind.",
                    "s",
                    "table",
                    18,
                ),
            ),
        ),
    ),
)
