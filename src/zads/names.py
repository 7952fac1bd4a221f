"""The names that programs agree on: nights, visits, topics, records' headers, programs and their consumer groups.

This is the only place that spells them.

- A night is the UTC date on which it is observed (Palomar's nights lie within one), as ``YYYYMMDD``.
- A visit is the modified Julian date at which its exposure starts, with five decimals (0.9 s).
- A topic of alerts is ``ztf_NIGHT_programidN``, a filter's is ``ztf_filter_NAME``. Our own topics begin with ``zads_``.
- The accounts and consumer groups of our own programs, brokers and operators begin with ``zads.``. Dots join their
  parts, and the name of a group of filters has no dot, so the prefix ``zads.filter.a.`` belongs to one group alone. The
  name of a user has no dot either (``zads.site.policy``), and a user's consumer groups are NAME and NAME-…, so no
  user's name or group can be one of ours.
"""

from __future__ import annotations

import datetime
import functools
import re
from collections.abc import Iterable, Mapping, Sequence

from zads import julian
from zads.errors import ZadsError

#: ZTF's programmes: 1 public, 2 the collaboration's, 3 Caltech's.
PROGRAMMES = (1, 2, 3)
PROGRAMMES_IN_WORDS = "programmes are 1, 2 and 3"
SURVEY = "ztf"

#: The night of canaries: it is before the survey's first night, mirrored like any other, and read by no filter or user.
CANARY_NIGHT = "20000101"
#: The survey's first light was in 2017; nothing is planned after the last of these. An inventory may narrow them.
FIRST_NIGHT, LAST_NIGHT = "20170101", "20491231"
_NIGHT = r"[0-9]{8}"  # not \d, which takes the digits of every script
#: Begins the names of all topics of nights, and of no filter's topic.
NIGHT_PREFIX = f"{SURVEY}_20"

#: Refused input, on the site that refused it.
REJECTED_TOPIC = "zads_rejected"
#: What the producer has published, compacted by exposure.
LEDGER_TOPIC = "zads_ledger"
#: Each filter's counts, compacted by filter and worker.
FILTER_COUNTS_TOPIC = "zads_filter_counts"
#: Where MirrorMaker keeps its place in each partition of origin, at the public site; it names the topic itself.
MIRROR_PLACES_TOPIC = "mm2-offsets.origin.internal"
#: A filter's name: part of the name of its topic.
FILTER_NAME = r"\A(?=.{2,63}\Z)[a-z][a-z0-9]*(_[a-z0-9]+)*\Z"
FILTER_NAME_IN_WORDS = "2 to 63 small letters and digits, joined by single _, a letter first"
#: Begins the names of the topics of what filters pass.
FILTER_PREFIX = f"{SURVEY}_filter_"
_OWNER_PREFIX = f"{SURVEY}_owner_"
_SAMPLE_PREFIX = f"{SURVEY}_sample_"
_NIGHT_TOPIC = re.compile(f"{SURVEY}_({_NIGHT})_programid({'|'.join(map(str, PROGRAMMES))})")

HEADER_CANDID = "candid"
HEADER_VISIT = "visit"
HEADER_SCHEMA = "schema"
#: Unix seconds at which the producer handed the packet to Kafka, as text with six decimals.
HEADER_PRODUCED = "produced"
#: The format of the value, for hop-client; without this header that client treats an alert as a blob.
HEADER_FORMAT = "_format"
FORMAT_AVRO = b"avro"
FORMAT_JSON = b"json"
#: On an alert that was published before with other bytes: "2" for its second contents, and so on; absent on the first.
HEADER_VERSION = "version"
#: The headers that every alert has, on the way to its subscribers and in filters' topics.
ALERT_HEADERS = (HEADER_CANDID, HEADER_VISIT, HEADER_SCHEMA, HEADER_PRODUCED)
HEADER_FILTER = "filter"
#: A filter's annotations of an alert, as JSON.
HEADER_ANNOTATIONS = "annotations"
HEADER_REASON = "reason"
#: Dotted path of the field for which a packet was refused; empty if it was not refused for a field.
HEADER_FIELD = "field"
#: File or topic that refused input came from.
HEADER_SOURCE = "source"


@functools.lru_cache(maxsize=1024)  # the alerts of an exposure have one date
def night_of(jd: float) -> str:
    """The night (``YYYYMMDD``) of a Julian date (UTC, days)."""
    # A Julian date of this century resolves 40 microseconds: rounding keeps midnight itself on its own side.
    moment = datetime.datetime.fromtimestamp(round(julian.unix_seconds(jd), 3), datetime.UTC)
    return moment.strftime("%Y%m%d")


def visit_of(jd: float) -> str:
    """The visit whose exposure starts at a Julian date (UTC, days)."""
    return f"{jd - julian.MJD_EPOCH_JD:.5f}"


def night_of_visit(visit: str) -> str | None:
    """The night of a visit, or None if the text is not a modified Julian date."""
    try:
        return night_of(float(visit) + julian.MJD_EPOCH_JD)
    except (ValueError, OverflowError):
        return None


def start_of_visit(visit: str) -> float | None:
    """The Unix time at which the exposure of a visit starts, or None if the text is not a modified Julian date."""
    try:
        return julian.unix_seconds(float(visit) + julian.MJD_EPOCH_JD)
    except ValueError:
        return None


def check_night(text: str) -> str:
    """The night itself, if it is one. Raises ZadsError if it is not a date written YYYYMMDD."""
    try:
        if re.fullmatch(_NIGHT, text):
            datetime.datetime.strptime(text, "%Y%m%d")
            return text
    except ValueError:
        pass
    raise ZadsError(f"{text!r} is not a night", hint="write its UTC date as YYYYMMDD, e.g. 20181129")


def check_survey(night: str, first: str = FIRST_NIGHT, last: str = LAST_NIGHT) -> None:
    """Check that an alert can be of a night. Raises ZadsError if this survey has no alerts of that night."""
    if night == CANARY_NIGHT:
        raise ZadsError(f"{night} is the night of the canaries, not of an alert")
    if not first <= night <= last:
        raise ZadsError(f"the night {night} is not one of this survey's, {first} to {last}")


def night_topic(night: str, programme: int) -> str:
    """The topic of a night's alerts of one programme, e.g. ``ztf_20181129_programid1``."""
    return f"{SURVEY}_{night}_programid{programme}"


def parse_topic(name: str) -> tuple[str, int] | None:
    """Night and programme of a topic of alerts; None for any other name."""
    match = _NIGHT_TOPIC.fullmatch(name)
    return (match[1], int(match[2])) if match else None


def topic_pattern(programmes: Iterable[int]) -> str:
    """A regular expression (for Java, and for librdkafka's POSIX syntax) of every night's topics of some programmes.

    It begins with the year 2001, so that it leaves out the canaries' night.
    """
    choice = "|".join(str(programme) for programme in sorted(programmes))
    return rf"^{SURVEY}_20(0[1-9]|[1-9][0-9])[0-9]{{4}}_programid({choice})$"


def mirrored_pattern(programmes: Iterable[int]) -> str:
    """A regular expression (Java's, of a whole name) for every night's topics of some programmes, and the canaries'."""
    choice = "|".join(str(programme) for programme in sorted(programmes))
    return f"{SURVEY}_{_NIGHT}_programid({choice})"


def filter_topic(name: str) -> str:
    """The topic of the alerts that a filter passes. Raises ZadsError if the name cannot be part of a topic's name."""
    return _topic(FILTER_PREFIX, name, "filter")


def filter_name(topic_name: str) -> str | None:
    """The filter whose passed alerts a topic holds; None for any other topic."""
    return topic_name.removeprefix(FILTER_PREFIX) if topic_name.startswith(FILTER_PREFIX) else None


def sample_topic(name: str) -> str:
    """The topic of a sample of alerts for testers. Raises ZadsError if the name cannot be part of a topic's name."""
    return _topic(_SAMPLE_PREFIX, name, "sample")


def sample_name(topic_name: str) -> str | None:
    """The sample that a topic holds; None for any other topic."""
    return topic_name.removeprefix(_SAMPLE_PREFIX) if topic_name.startswith(_SAMPLE_PREFIX) else None


def _topic(prefix: str, name: str, kind: str) -> str:
    if not re.fullmatch(FILTER_NAME, name):
        raise ZadsError(f"{name!r} cannot name a {kind}", hint=f"use {FILTER_NAME_IN_WORDS}")
    return f"{prefix}{name}"


def owner_topic(user: str) -> str:
    """The topic of what a user's filters count, and of the alerts on which they fail."""
    return f"{_OWNER_PREFIX}{user}"


def is_owner_topic(topic_name: str) -> bool:
    """Whether a topic holds the counts and failures of a user's filters."""
    return topic_name.startswith(_OWNER_PREFIX)


def program(*parts: str) -> str:
    """The name of one of our own programs, e.g. ``zads.producer`` or ``zads.filter.transients``."""
    return ".".join(("zads", *parts))


def is_program(principal: str) -> bool:
    """Whether a principal is one of our own programs, brokers or operators: no user's name has a dot."""
    return principal.startswith(program(""))


#: Accounts (SCRAM) of the programs.
PRODUCER = program("producer")
MIRROR = program("mirror")
#: It makes the nights' topics and grants, and removes them.
NIGHT_KEEPER = program("night-keeper")
#: It reads the nights, and writes them to archives.
ARCHIVE = program("archive")
#: It reads everything that a night's audit compares, and writes nothing.
AUDITOR = program("auditor")
#: It tells what the sites, the mirror and the groups are like, and sends canaries.
EXPORTER = program("exporter")
#: The Night Board, which reads.
BOARD = program("board")
#: The accounts that not every deployment has, by the group of the inventory whose hosts use them.
ACCOUNTS = {"archives": ARCHIVE, "auditors": AUDITOR, "boards": BOARD, "exporters": EXPORTER}
#: The operators' principal: the certificate of the name ``admin``.
ADMIN = program("admin")

#: Consumer groups of readers that commit no offset: the producer reading its ledger, and the operators' tools.
LEDGER_GROUP = program("ledger")
AUDIT_GROUP = program("audit")
CANARY_GROUP = program("canary")
SUBSCRIBER_GROUP = program("subscriber")
#: Begins the transactional ids of the processes that send canaries to warm a system up.
WARM_UP = program("warm-up")


def accounts(groups: Mapping[str, Sequence[str]]) -> list[str]:
    """Those of :data:`ACCOUNTS` that a deployment with these groups of hosts has."""
    return [account for group, account in ACCOUNTS.items() if groups.get(group)]


def filters_principal(group: str) -> str:
    """Account and consumer group of the workers of a group of filters."""
    return program("filter", group)


def broker_principal(host: str) -> str:
    """The principal of a broker, whose certificate names its host."""
    return program("broker", host)
