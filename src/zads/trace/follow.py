"""Follows one alert: the steps that `zads.trace` lists."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping

import numpy as np
from confluent_kafka import KafkaException, Message

from zads import ledger, names, reading
from zads.errors import ZadsError
from zads.site.entry import Site
from zads.site.policy import Policy
from zads.trace import filters, search
from zads.trace.hops import LedgerHop, RefusalHop, Sighting, Trace
from zads.trace.search import MARGIN_SECONDS, Reader, is_about

#: Between an alert's publication at the origin and its arrival at the public site: after a longer pause of the mirror,
#: the whole topic is searched.
_UNDER_WAY_SECONDS = 3600.0
_LEDGER_SECONDS = 120.0  # to read the ledger: without it more is searched
_MOST_CONTENTS = 20  # different contents of an alert that are told


def follow(
    candid: int,
    sites: Mapping[Site, Mapping[str, str]],
    *,
    night: str | None = None,
    programmes: Collection[int] = names.PROGRAMMES,
    policy: Policy | None = None,
    judge: filters.Judge | None = None,
) -> Trace:
    """Everything that the streams say of an alert.

    `sites`: properties of a client at each site that is to be looked at. `programmes`: only of these, whatever the
    client may read; if one is left out, neither the ledger nor refused input is looked at. `night`: where it
    is, if it is known. `policy`: the inventory's filters; `judge`: runs them again.
    Raises ZadsError if a site does not answer.
    """
    readers = {site: Reader(site, conf) for site, conf in sites.items()}
    topics = {site: reader.topics() for site, reader in readers.items()}
    trace = Trace(candid)
    # Step 1. The ledger does not say of which programme an alert is.
    origin = readers.get("origin")
    if origin is not None and names.LEDGER_TOPIC in topics["origin"] and _sees_all(programmes):
        trace.ledger = _ledger(origin, candid)
    known = sorted({hop.night for hop in trace.ledger})
    guess = search.night_of_candid(candid)
    nights = [night] if night else known or ([guess] if guess else [])
    trace.night = nights[0] if nights else None
    if not night and not known and nights:
        trace.notes.append(f"the night is the date that the candid begins with, {nights[0]}; --night names another")
    if not nights:
        trace.notes.append("the candid does not begin with a date: --night names the night")
    # Step 2.
    if origin is not None:
        wanted = [name for one in nights for name in search.nights_topics(topics["origin"], one, programmes)]
        trace.origin = [Sighting.of("origin", one) for one in _at_origin(origin, wanted, candid, trace.ledger)]
        trace.refusals += _refusals(origin, topics["origin"], candid, programmes)
    # Step 3.
    public, data = readers.get("public"), b""
    if public is not None:
        wanted = [name for one in nights for name in search.nights_topics(topics["public"], one, programmes)]
        messages = _at_public(public, wanted, candid, trace.origin)
        trace.public = [Sighting.of("public", one) for one in messages]
        data = (messages[-1].value() or b"") if messages else b""
        # Step 4.
        trace.refusals += _refusals(public, topics["public"], candid, programmes)
        # Step 5.
        if trace.public:
            trace.filters = filters.hops(
                public, topics["public"], candid, trace.public[-1], data, trace.refusals, policy, judge
            )
    return trace


def _sees_all(programmes: Collection[int]) -> bool:
    return set(programmes) == set(names.PROGRAMMES)


def _ledger(reader: Reader, candid: int) -> list[LedgerHop]:
    """The ledger's rows of an alert; none if this client may not read the ledger, or an open transaction hides it."""
    found: dict[str, list[LedgerHop]] = {}
    until = time.monotonic() + _LEDGER_SECONDS

    def turn() -> None:
        if time.monotonic() > until:
            raise TimeoutError

    try:
        for key, rows, written in ledger.rows(reader.conf, names.program("trace"), turn):
            found.pop(key, None)
            chosen = rows[(rows["candid"] == np.uint64(candid)) & (rows["night"] != ledger.REFUSALS)]
            if len(chosen):
                found[key] = [
                    LedgerHop(
                        ledger.exposure_of(key)[0], str(int(row["night"])), written, f"{int(row['content']) >> 16:012x}"
                    )
                    for row in chosen
                ]
    except (KafkaException, ZadsError, TimeoutError):
        return []
    return sorted((hop for hops in found.values() for hop in hops), key=lambda one: one.written)


def _at_origin(reader: Reader, topics: Collection[str], candid: int, rows: Collection[LedgerHop]) -> list[Message]:
    def about(message: Message) -> bool:
        return is_about(message, candid)

    if rows:
        begin = min(one.written for one in rows) - MARGIN_SECONDS
        end = max(one.written for one in rows) + MARGIN_SECONDS
        if found := search.first(reader.records(topics, begin=begin, end=end), about, len(rows)):
            return found
    # Without the ledger nobody knows how many contents it has: the whole night is read.
    return search.first(reader.records(topics), about, _MOST_CONTENTS)


def _at_public(reader: Reader, topics: Collection[str], candid: int, origin: Collection[Sighting]) -> list[Message]:
    def about(message: Message) -> bool:
        return is_about(message, candid)

    produced = [one.produced for one in origin if one.produced == one.produced]
    if produced:
        # The mirror keeps the number of the partition.
        partitions = {one.partition for one in origin}
        partition = partitions.pop() if len(partitions) == 1 else None
        begin, end = min(produced) - MARGIN_SECONDS, max(produced) + _UNDER_WAY_SECONDS
        found = search.first(reader.records(topics, partition=partition, begin=begin, end=end), about, len(origin))
        if found:
            return found
    return search.first(reader.records(topics), about, len(origin) or _MOST_CONTENTS)


def _refusals(
    reader: Reader, topics: Collection[str], candid: int, programmes: Collection[int]
) -> Iterator[RefusalHop]:
    """Refused input of an alert, and failures of filters on it.

    Refused input is shown only to those who may see all programmes: nobody has checked of which one it is.
    """
    wanted = [names.REJECTED_TOPIC] if _sees_all(programmes) else []
    for message in reader.records([one for one in wanted if one in topics], newest=search.MOST_REFUSED):
        if search.refused(message, candid):
            yield _refusal(reader.site, message)


def _refusal(site: Site, message: Message) -> RefusalHop:
    known = reading.headers(message)

    def text(name: str) -> str:
        return known.get(name, b"").decode("utf-8", "replace")

    return RefusalHop(
        site, f"{message.topic()}/{message.partition()}/{message.offset()}", message.timestamp()[1] / 1000,
        text(names.HEADER_REASON).strip(), text(names.HEADER_FIELD), text(names.HEADER_SOURCE),
        text(names.HEADER_FILTER),
    )  # fmt: skip
