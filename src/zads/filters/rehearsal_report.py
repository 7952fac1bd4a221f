"""The outcome of a rehearsal, for a terminal and as an HTML page."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from zads.filters.recorded_night import RecordedAlert
from zads.filters.rehearsal import Outcome
from zads.packet import Packet

PAGE_ALERTS = 40  # of each list on a page
TERMINAL_ALERTS = 3


def text(outcome: Outcome) -> str:
    """The outcome for a terminal."""
    lines = [
        f"{outcome.name}: {outcome.declared.doc.splitlines()[0]}",
        f"{'visit':>12} {'alerts':>8} {'pass':>6} {'cut by cap':>11}",
    ]
    lines += [f"{visit:>12} {a:>8} {p:>6} {c:>11}" for visit, (a, p, c) in sorted(outcome.visits.items())]
    lines.append(f"{'night':>12} {outcome.offered:>8} {len(outcome.passed):>6} {outcome.cut:>11}")
    lines.append(
        f"{100 * outcome.share:.2f} % pass before the cap of {outcome.cap} a visit; "
        f"{outcome.microseconds:.1f} us an alert in this filter"
    )
    lines += [
        f"such as {alert.candid} {alert.object_id} {alert.annotations}".rstrip()
        for alert in outcome.passed[:TERMINAL_ALERTS]
    ]
    lines += outcome.advice
    if outcome.skipped:
        lines.append(f"stopped, {outcome.skipped} alerts not looked at: {outcome.circuit}")
    if outcome.output:
        lines.append(f"it printed: {outcome.output[:300]!r}")
    return "\n".join(lines)


def page(
    outcome: Outcome,
    alerts: Iterable[RecordedAlert],
    compared: dict[str, list[int]] | None = None,
    object_page: str | None = None,
) -> str:
    """A self-contained HTML page: the figures, and alerts with light curves, cutouts and annotations.

    `compared` has further lists of candids (see `rehearsal.compare`). `object_page` is the address of an object's page
    (see `alert_card.OBJECT_PAGE`). The night is read again until all alerts of the page are found.
    """
    from zads import pages
    from zads.alert_card import OBJECT_PAGE, AlertCard

    address = OBJECT_PAGE if object_page is None else object_page
    candids = {title.capitalize(): listed for title, listed in (compared or {}).items()}
    candids["Received"] = [alert.candid for alert in outcome.passed]
    packets = _find(alerts, {candid for listed in candids.values() for candid in listed[:PAGE_ALERTS]})
    annotations = {alert.candid: alert.annotations for alert in outcome.passed}
    lists = [
        (
            title,
            len(listed),
            [AlertCard.of(packets[candid], annotations.get(candid, ""), address) for candid in listed[:PAGE_ALERTS]],
        )
        for title, listed in candids.items()
    ]
    return pages.render(
        "filter.html", outcome=outcome, refusals=outcome.refusals(), lists=lists,
        failures=outcome.failures[:PAGE_ALERTS],
        most=max([1, *(passed + cut for _, passed, cut in outcome.visits.values())]),
    )  # fmt: skip


def _find(alerts: Iterable[RecordedAlert], wanted: Collection[int]) -> dict[int, Packet]:
    packets: dict[int, Packet] = {}
    if wanted:
        for alert in alerts:
            if alert.packet.candid in wanted:
                packets[alert.packet.candid] = alert.packet
                if len(packets) == len(wanted):
                    break
    return packets
