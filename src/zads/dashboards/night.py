"""The dashboard of the night: do alerts reach the world in time?"""

from __future__ import annotations

from zads.dashboards.panel import Dashboard, Panel, Query, Row

_BAD_AT_ONE = ((1, "red"),)
_RINGING = 'count(ALERTS{alertstate="firing", alertname!="Watchdog"}) or vector(0)'
_RATE = "5m"


def _quantiles(histogram: str, name: str = "") -> tuple[Query, ...]:
    """The median and the 99th percentile of a histogram."""
    return tuple(
        Query(f"histogram_quantile({part}, sum by (le) (rate({histogram}_bucket[{_RATE}])))", f"{name}{shown}")
        for part, shown in ((0.5, "median"), (0.99, "99 %"))
    )


def _hop(hop: str) -> tuple[Query, ...]:
    return tuple(
        Query(
            f'histogram_quantile({part}, sum by (le) (rate(zads_canary_seconds_bucket{{hop="{hop}"}}[{_RATE}])))',
            f"{hop}, {shown}",
        )
        for part, shown in ((0.5, "median"), (0.99, "99 %"))
    )


NIGHT = Dashboard(
    "zads-night",
    "ZADS: The night",
    "Whether alerts reach the world in time, and where they wait.",
    (
        Row(
            "Now",
            (
                Panel(
                    "Alarms",
                    (Query(_RINGING, "ring"),),
                    "How many alarms ring.",
                    kind="stat",
                    width=4,
                    steps=_BAD_AT_ONE,
                ),
                Panel(
                    "Mirror",
                    (Query("zads_mirror_silent", "silent"),),
                    "1: alerts wait at the origin, and the mirror does not move.",
                    kind="stat",
                    width=4,
                    steps=_BAD_AT_ONE,
                ),
                Panel(
                    "Mirror is behind by",
                    (Query("zads_mirror_behind_seconds", "oldest alert"),),
                    "For how long the oldest alert has waited for the mirror.",
                    "s",
                    "stat",
                    4,
                    ((10, "orange"), (60, "red")),
                ),
                Panel(
                    "Canary on its way for",
                    (Query("zads_canary_waiting_seconds", "oldest"),),
                    "For how long the oldest canary has been under way.",
                    "s",
                    "stat",
                    4,
                    ((10, "orange"), (30, "red")),
                ),
                Panel(
                    "Producer",
                    (Query("max(zads_producer_blocked)", "waits"),),
                    "1: the producer waits for a topic or a broker.",
                    kind="stat",
                    width=4,
                    steps=_BAD_AT_ONE,
                ),
                Panel(
                    "Exposures in the spool",
                    (Query("sum(zads_producer_pending)", "wait"),),
                    "Exposures that are not published yet.",
                    kind="stat",
                    width=4,
                    steps=((5, "orange"), (20, "red")),
                ),
            ),
        ),
        Row(
            "In time",
            (
                Panel(
                    "From the producer to the public site",
                    _quantiles("zads_worker_public_seconds"),
                    "The service level: 99 % within 10 s.",
                    "s",
                    width=8,
                    quiet=True,
                ),
                Panel(
                    "Late alerts",
                    tuple(Query(f"zads:alerts_late:ratio_{window}", window) for window in ("5m", "1h", "6h")),
                    "The part of the alerts that took longer than 10 s. One percent is allowed.",
                    "percentunit",
                    width=8,
                    quiet=True,
                ),
                Panel(
                    "From the start of the exposure",
                    _quantiles("zads_worker_candidate_seconds"),
                    "With the exposure itself, its readout and the pipeline.",
                    "s",
                    width=8,
                    quiet=True,
                ),
                Panel(
                    "Canaries, hop by hop",
                    (*_hop("origin"), *_hop("mirror"), *_hop("whole")),
                    "Sent every five seconds, all night, alerts or not.",
                    "s",
                    width=12,
                ),
                Panel(
                    "An exposure at the producer",
                    _quantiles("zads_producer_exposure_seconds"),
                    "From the first look at it to its receipt.",
                    "s",
                    width=12,
                    quiet=True,
                ),
            ),
        ),
        Row(
            "How much",
            (
                Panel(
                    "Alerts published",
                    (
                        Query(
                            f"sum by (programme) (rate(zads_producer_published_total[{_RATE}]))",
                            "programme {{programme}}",
                        ),
                    ),
                    "Alerts a second at the origin.",
                    "short",
                    stacked=True,
                    quiet=True,
                ),
                Panel(
                    "Bytes published",
                    (Query(f"sum(rate(zads_producer_bytes_total[{_RATE}]))", "bytes"),),
                    "Bytes of packets a second at the origin.",
                    "Bps",
                ),
                Panel(
                    "Refused",
                    (Query(f"sum by (kind) (increase(zads_producer_refused_total[{_RATE}]))", "{{kind}}"),),
                    "Packets refused in five minutes, by what is wrong with them.",
                    quiet=True,
                    stacked=True,
                ),
                Panel(
                    "Offsets of the newest nights",
                    (Query('topk(4, zads_night_end_offsets{site="public"})', "{{night}}, programme {{programme}}"),),
                    "Records and markers at the public site.",
                ),
                Panel(
                    "Last alert",
                    (Query("time() - max by (site) (zads_night_newest_seconds)", "{{site}}"),),
                    "For how long a site has got nothing new.",
                    "s",
                    quiet=True,
                ),
                Panel(
                    "Nights are ready for",
                    (Query("zads_nights_ready_until_seconds - time()", "{{site}}"),),
                    "Until when each night has its topics and grants.",
                    "s",
                    "bargauge",
                ),
            ),
        ),
    ),
)
