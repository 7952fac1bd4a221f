"""Nobody gets more than the data policy says: topics, accounts and grants that follow from an inventory's data."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from zads import names
from zads.errors import ZadsError
from zads.site import access
from zads.site.policy import SITES, Policy, Site
from zads.site.topics import canary_topic, fixed_topics, night_topics

NIGHTS = ["20181129", "20181130"]
KEEPER = f"User:{names.NIGHT_KEEPER}"
DATA: dict[str, Any] = {
    "topics_night": {"partitions": 16, "replication_factor": 3, "min_insync_replicas": 2, "retention_days": 7},
    "programmes": {1: {"sites": ["origin", "public"]}, 2: {"sites": ["origin"]}, 3: {"sites": ["origin"]}},
    "users": [
        {"name": "reader", "site": "public", "programmes": [1]},
        {"name": "alice", "site": "public"},
        {"name": "partner", "site": "origin", "programmes": [1, 2]},
    ],
    "filters": [
        {"name": "young", "owner": "alice", "group": "transients", "state": "active", "cap": 20},
        {"name": "fast", "owner": "alice", "group": "transients", "state": "shadow", "cap": 20},
        {"name": "asteroid", "owner": "reader", "group": "moving", "state": "off", "cap": 20},
    ],
    "filter_groups": {"transients": {"workers": 1}, "moving": {"workers": 1}},
}


def policy(**changes: Any) -> Policy:
    return Policy.read({**copy.deepcopy(DATA), **changes})


def may(acls: list[access.Acl], user: str, operation: str, name: str, resource: str = "topic") -> bool:
    """Whether Kafka would allow it, by its own rule: any literal or prefix entry of the principal that allows."""
    return any(
        (acl.principal, acl.resource, acl.operation) == (f"User:{user}", resource, operation)
        and (name == acl.name or (acl.pattern == "prefixed" and name.startswith(acl.name)))
        for acl in acls
    )


def grants(site: Site, wanted: Policy | None = None, present: list[str] | None = None) -> list[access.Acl]:
    wanted = wanted or policy()
    return access.wanted_acls(wanted, site, access.known_nights(wanted, site, present or [], NIGHTS))


def test_a_user_reads_the_programmes_that_are_theirs_and_no_other() -> None:
    acls = grants("origin")
    for night in NIGHTS:
        readable = [
            number for number in names.PROGRAMMES if may(acls, "partner", "read", names.night_topic(night, number))
        ]
        assert readable == [1, 2]


def test_a_user_has_nothing_at_the_other_site() -> None:
    assert not [acl for acl in grants("public") if acl.principal == "User:partner"]
    assert not [acl for acl in grants("origin") if acl.principal == "User:reader"]


def test_no_grant_to_read_or_write_a_night_is_a_prefix() -> None:
    for site in SITES:
        for acl in grants(site):
            if acl.resource == "topic" and acl.name.startswith("ztf") and acl.operation in {"read", "write", "all"}:
                assert acl.pattern == "literal"


def test_only_the_night_keeper_has_rights_on_a_prefix_of_nights_and_it_reads_and_writes_none() -> None:
    for site in SITES:
        acls = grants(site)
        assert {acl.principal for acl in acls if acl.resource == "topic" and acl.name == names.NIGHT_PREFIX} == {KEEPER}
        for night in NIGHTS:
            for operation in ("create", "delete", "describe", "alter", "describe_configs", "alter_configs"):
                assert may(acls, names.NIGHT_KEEPER, operation, names.night_topic(night, 1))
            for operation in ("read", "write"):
                assert not may(acls, names.NIGHT_KEEPER, operation, names.night_topic(night, 1))
        for other in ("ztf_filter_young", names.REJECTED_TOPIC, names.LEDGER_TOPIC, "__consumer_offsets"):
            assert not [acl.operation for acl in acls if may([acl], names.NIGHT_KEEPER, acl.operation, other)]


def test_the_night_keeper_gives_grants_and_sees_them_and_has_no_other_right_on_the_cluster() -> None:
    for site in SITES:
        of_cluster = {(acl.principal, acl.operation) for acl in grants(site) if acl.resource == "cluster"}
        assert of_cluster == {(KEEPER, "describe"), (KEEPER, "alter")}


def test_the_night_keeper_sends_canaries_to_both_sites_and_reads_them_at_the_public_one() -> None:
    canaries = names.night_topic(names.CANARY_NIGHT, 1)
    for site in SITES:
        theirs = {acl.operation for acl in grants(site) if acl.principal == KEEPER and acl.name == canaries}
        assert theirs == ({"write"} if site == "origin" else {"read", "write"})
    assert may(grants("origin"), names.NIGHT_KEEPER, "write", f"{names.WARM_UP}.1", "transactional_id")
    assert may(grants("public"), names.NIGHT_KEEPER, "describe", names.NIGHT_KEEPER, "group")


def test_the_archive_reads_every_night_and_the_ledger_and_has_no_other_right() -> None:
    with_archive = policy(programs=[names.ARCHIVE])
    for site in SITES:
        acls = [acl for acl in grants(site, with_archive) if acl.principal == f"User:{names.ARCHIVE}"]
        nights = {names.night_topic(night, number) for night in NIGHTS for number in with_archive.allowed(site)}
        readable = {(name, "topic", "read") for name in nights}
        if site == "origin":
            readable.add((names.LEDGER_TOPIC, "topic", "read"))
        assert {(acl.name, acl.resource, acl.operation) for acl in acls} == {
            *readable,
            (names.ARCHIVE, "group", "describe"),
        }
        assert {acl.pattern for acl in acls} == {"literal"}
        assert names.ARCHIVE in access.accounts(with_archive, site)


def test_the_auditor_reads_what_it_compares_and_may_change_nothing() -> None:
    with_auditor = policy(programs=[names.AUDITOR])
    common = {names.NIGHT_PREFIX, names.REJECTED_TOPIC, names.AUDITOR}
    for site, more in (
        ("origin", {names.LEDGER_TOPIC}),
        ("public", {names.filter_topic("xx").removesuffix("xx"), names.FILTER_COUNTS_TOPIC}),
    ):
        acls = [acl for acl in grants(site, with_auditor) if acl.principal == f"User:{names.AUDITOR}"]
        assert {acl.name for acl in acls} == common | more
        assert {(acl.operation, acl.resource) for acl in acls} == {("read", "topic"), ("describe", "group")}
        assert names.AUDITOR in access.accounts(with_auditor, site)
        assert names.AUDITOR not in access.accounts(policy(), site)
        assert not [acl for acl in grants(site) if names.AUDITOR in acl.principal]


def test_a_deployment_without_an_archive_has_no_account_for_one() -> None:
    for site in SITES:
        assert names.ARCHIVE not in access.accounts(policy(), site)
        assert not [acl for acl in grants(site) if acl.principal == f"User:{names.ARCHIVE}"]


def test_the_board_reads_the_public_site_and_at_the_origin_only_sees_what_is_mirrored() -> None:
    with_board = policy(programs=[names.BOARD])
    theirs = {
        site: [one for one in grants(site, with_board) if one.principal == f"User:{names.BOARD}"] for site in SITES
    }
    mirrored = {names.night_topic(night, 1) for night in NIGHTS}
    assert {(one.operation, one.resource, one.name) for one in theirs["origin"]} == {
        ("describe", "topic", name) for name in mirrored
    }
    read = {one.name for one in theirs["public"] if one.operation == "read"}
    assert read == mirrored | {"ztf_filter_young", "ztf_filter_fast", names.FILTER_COUNTS_TOPIC}
    described = {(one.resource, one.name) for one in theirs["public"] if one.operation == "describe"}
    assert described == {("group", names.BOARD), ("group", "zads.filter.transients")}
    assert {one.operation for site in SITES for one in theirs[site]} == {"read", "describe"}
    assert {one.pattern for site in SITES for one in theirs[site]} == {"literal"}
    for site in SITES:
        assert names.BOARD in access.accounts(with_board, site)
        assert names.BOARD not in access.accounts(policy(), site)
        assert not [one for one in grants(site) if one.principal == f"User:{names.BOARD}"]


def test_a_night_that_was_never_made_is_not_open_to_anybody() -> None:
    for site in SITES:
        assert not [acl for acl in grants(site) if "20991231" in acl.name]
        assert not any(
            may(grants(site), user, "read", "ztf_20991231_programid1") for user in ("reader", "partner", "zads.mirror")
        )


def test_nights_that_a_cluster_has_stay_readable() -> None:
    acls = grants("public", present=["ztf_20170101_programid1", "__consumer_offsets", "ztf_filter_young"])
    assert may(acls, "reader", "read", "ztf_20170101_programid1")
    assert may(acls, "reader", "read", "ztf_20181129_programid1")


def test_a_topic_that_the_policy_forbids_at_a_site_is_closed_even_where_it_exists() -> None:
    forbidden = "ztf_20181129_programid2"
    assert not [acl for acl in grants("public", present=[forbidden]) if acl.name == forbidden]


def test_an_owner_reads_what_their_own_filters_pass_and_nothing_else() -> None:
    acls = grants("public")
    readable = {acl.name for acl in acls if acl.principal == "User:alice" and acl.resource == "topic"}
    assert readable == {"ztf_filter_young", "ztf_filter_fast", "ztf_owner_alice"}
    assert {acl.principal for acl in acls if acl.name == "ztf_owner_alice"} == {
        "User:alice",
        "User:zads.filter.transients",
    }


def test_people_read_topics_and_their_settings_and_rule_their_own_groups() -> None:
    people = {f"User:{user['name']}" for user in DATA["users"]}
    for site in SITES:
        theirs = {(acl.resource, acl.operation) for acl in grants(site) if acl.principal in people}
        assert theirs == {("topic", "read"), ("topic", "describe_configs"), ("group", "read"), ("group", "delete")}


def test_no_program_may_do_more_than_its_work_needs() -> None:
    allowed = {(acl.principal, acl.resource, acl.operation) for site in SITES for acl in grants(site)}
    programs = {entry for entry in allowed if entry[0].startswith("User:zads.") and entry[0] != KEEPER}
    assert not {
        entry for entry in programs if entry[2] in {"alter", "alter_configs", "delete", "cluster_action", "all"}
    }
    assert {entry for entry in programs if entry[2] in {"create", "describe_configs"}} == {
        ("User:zads.mirror", "topic", "create"),
        ("User:zads.mirror", "topic", "describe_configs"),
    }
    assert not [entry for entry in programs if entry[1] == "cluster"]
    for acl in grants("public"):
        if acl.principal == "User:zads.mirror" and acl.name.startswith("ztf_"):
            assert acl.operation == "write"


def test_the_mirror_sees_at_the_origin_only_what_may_be_public() -> None:
    named = {acl.name for acl in grants("origin") if acl.principal == "User:zads.mirror"}
    assert named == {names.night_topic(night, 1) for night in [names.CANARY_NIGHT, *NIGHTS]}


def test_the_mirror_may_ask_for_a_nights_settings_before_the_public_site_has_it() -> None:
    found = {acl.operation for acl in grants("origin") if acl.principal == "User:zads.mirror"}
    assert found == {"read", "describe_configs"}


def test_canaries_are_seen_by_no_user_and_no_filter_and_kept_for_an_hour() -> None:
    canaries = names.night_topic(names.CANARY_NIGHT, 1)
    for site in SITES:
        asked = access.known_nights(policy(), site, [names.night_topic(names.CANARY_NIGHT, 2)], [names.CANARY_NIGHT])
        assert asked == [(names.CANARY_NIGHT, 1)]
        users = {acl.principal for acl in access.wanted_acls(policy(), site, asked) if acl.name == canaries}
        assert users == {"User:zads.mirror", KEEPER}
        assert night_topics(policy(), site, [names.CANARY_NIGHT]) == []
        [topic] = [one for one in fixed_topics(policy(), site) if one.name == canaries]
        assert topic.partitions == 16
        assert int(topic.config["retention.ms"]) == 3_600_000
        assert int(topic.config["segment.bytes"]) < int(topic.config["retention.bytes"]) < 1e8


def test_canaries_have_a_topic_where_another_programme_is_public_and_none_where_nothing_is() -> None:
    second = policy(
        programmes={1: {"sites": ["origin"]}, 2: {"sites": ["origin", "public"]}},
        users=[{"name": "partner", "site": "origin", "programmes": [1, 2]}],
        filters=[],
    )
    assert canary_topic(second) == "ztf_20000101_programid2"
    nothing = policy(programmes={1: {"sites": ["origin"]}}, users=[], filters=[])
    assert canary_topic(nothing) is None
    assert not [one for one in fixed_topics(nothing, "origin") if names.CANARY_NIGHT in one.name]


def test_the_mirror_can_make_no_topic_but_its_own() -> None:
    made = {acl.name for acl in grants("public") if acl.operation == "create" and acl.principal != KEEPER}
    assert made == {"mm2-configs.origin.", "mm2-offsets.origin.internal", "mm2-status.origin.internal"}


def test_the_producer_writes_every_programme_and_cannot_read_any() -> None:
    acls = grants("origin")
    assert all(
        may(acls, "zads.producer", "write", names.night_topic(night, n)) for night in NIGHTS for n in names.PROGRAMMES
    )
    assert not any(
        may(acls, "zads.producer", "read", names.night_topic(night, n)) for night in NIGHTS for n in names.PROGRAMMES
    )
    assert may(acls, "zads.producer", "read", names.LEDGER_TOPIC)
    assert may(acls, "zads.producer", "write", "zads.producer.apps-1", "transactional_id")


def test_filters_write_only_where_they_are_active() -> None:
    acls = grants("public")
    assert may(acls, "zads.filter.transients", "write", "ztf_filter_young")
    assert not may(acls, "zads.filter.transients", "write", "ztf_filter_fast")
    assert not may(acls, "zads.filter.transients", "write", "ztf_20181129_programid1")
    assert may(acls, "zads.filter.transients", "read", "zads.filter.transients", "group")
    assert may(acls, "zads.filter.transients", "write", "zads.filter.transients.worker-1", "transactional_id")
    assert may(acls, "zads.filter.transients", "read", names.FILTER_COUNTS_TOPIC)
    assert not [acl for acl in acls if acl.principal == "User:zads.filter.moving"]


def test_each_site_has_accounts_for_its_own_people_and_programs() -> None:
    assert access.accounts(policy(), "origin") == ["partner", "zads.mirror", "zads.night-keeper", "zads.producer"]
    assert access.accounts(policy(), "public") == [
        "alice", "reader", "zads.filter.transients", "zads.mirror", "zads.night-keeper",
    ]  # fmt: skip


def test_nobody_without_an_account_has_a_grant() -> None:
    for site in SITES:
        named = {acl.principal.removeprefix("User:") for acl in grants(site)}
        assert named <= set(access.accounts(policy(), site))


# Names of programs, brokers and operators in earlier and present deployments, and names that begin like these.
TAKEN = (
    "zads zads-ledger zads-audit filter filter-moving filter-transients origin origin-mm2 connect connect-cluster mm2 "
    "mirror producer admin broker broker-1 public-1 origin-1 heartbeats kafka kafka-cluster console-consumer anonymous"
).split()
NAMES = st.one_of(
    st.sampled_from([*TAKEN, "al", "al-ice", "al_ice", "al-ice-2"]),
    st.from_regex(r"[a-z][a-z0-9]{1,3}([_-][a-z0-9]{1,2})?", fullmatch=True),
)
GROUPS = st.one_of(
    st.sampled_from(["a", "a_b", "moving", "zads", "mirror"]),
    st.from_regex(r"[a-z][a-z0-9]{0,2}(_[a-z0-9])?", fullmatch=True),
)


@given(
    st.lists(NAMES, unique=True, min_size=1, max_size=6),
    st.lists(GROUPS, unique=True, max_size=4),
    st.lists(st.sampled_from(["origin-1", "a.example.org", "admin", "mirror", "filter.a"]), unique=True),
)
def test_no_user_shares_a_name_a_group_or_an_id_with_anybody(
    people: list[str], groups: list[str], hosts: list[str]
) -> None:
    users = [{"name": name, "site": "public", "programmes": [1]} for name in people]
    filters = [
        {"name": f"f{number}", "owner": people[0], "group": group, "state": "active"}
        for number, group in enumerate(groups)
    ]
    try:
        wanted = policy(users=users, filters=filters, filter_groups=dict.fromkeys(groups))
    except ZadsError as error:
        # A name is refused only for its form, never because a program, a broker or a host has a similar one.
        assert "is also a consumer group" in str(error) or "of the operators" in str(error)
        return
    ours = {names.ADMIN, names.PRODUCER, names.MIRROR, names.NIGHT_KEEPER, *map(names.broker_principal, hosts)}
    ours |= set(map(names.filters_principal, groups))
    assert not ours & set(people)
    assert len(ours) == 4 + len(hosts) + len(groups)
    used = {
        "group": {*ours, names.LEDGER_GROUP, names.AUDIT_GROUP, names.CANARY_GROUP},
        "transactional_id": {
            f"connect-cluster-{names.MIRROR}",
            f"{names.MIRROR}-MirrorSourceConnector-0",
            *(f"{names.PRODUCER}.{host}" for host in hosts),
            *(f"{names.filters_principal(group)}.{host}-1" for group in groups for host in hosts),
        },
    }
    acls = [acl for site in SITES for acl in access.wanted_acls(wanted, site, [])]
    for resource, taken in used.items():
        for name in taken:
            holders = {
                acl.principal.removeprefix("User:")
                for acl in acls
                if acl.resource == resource
                and acl.operation != "describe"
                and (name == acl.name or (acl.pattern == "prefixed" and name.startswith(acl.name)))
            }
            assert not holders & set(people), (name, holders)
            assert len(holders) <= 1, (name, holders)
    for one in people:
        for other in people:
            theirs = [acl for acl in acls if acl.principal == f"User:{other}"]
            if one != other:
                assert not may(theirs, other, "read", one, "group")
                assert not may(theirs, other, "read", f"{one}-2", "group")


ACLS = st.builds(
    access.Acl,
    principal=st.sampled_from(["User:a", "User:b"]),
    resource=st.sampled_from(["topic", "group"]),
    name=st.sampled_from(["x", "y"]),
    pattern=st.sampled_from(["literal", "prefixed"]),
    operation=st.sampled_from(["read", "write"]),
    permission=st.sampled_from(["allow", "deny"]),
)


@given(st.sets(ACLS), st.sets(ACLS))
def test_the_difference_of_grants_leads_from_present_to_wanted(
    wanted: set[access.Acl], present: set[access.Acl]
) -> None:
    changes = access.acl_changes(wanted, present)
    assert (present - set(changes.remove)) | set(changes.add) == wanted
    assert bool(changes) == (wanted != present)


EXPORTER = f"User:{names.EXPORTER}"


def test_without_an_exporter_nobody_has_its_account() -> None:
    for site in SITES:
        assert names.EXPORTER not in access.accounts(policy(), site)
        assert not [acl for acl in grants(site) if acl.principal == EXPORTER]


def test_the_exporter_describes_everything_and_changes_nothing_but_canaries() -> None:
    with_exporter = policy(programs=[names.EXPORTER])
    canaries = canary_topic(with_exporter)
    for site in SITES:
        assert names.EXPORTER in access.accounts(with_exporter, site)
        own = {acl for acl in grants(site, with_exporter) if acl.principal == EXPORTER}
        other = {acl for acl in own if acl.operation not in {"describe", "describe_configs", "read"}}
        assert {(acl.resource, acl.name, acl.operation) for acl in other} <= {("topic", canaries, "write")}
        assert {acl.name for acl in own if acl.operation == "read"}.isdisjoint({"*"})
        assert not [acl for acl in own if acl.pattern == "prefixed"]


def test_the_exporter_reads_no_alert_that_is_not_public() -> None:
    for night in NIGHTS:
        for programme in names.PROGRAMMES:
            topic = names.night_topic(night, programme)
            assert may(grants("origin", policy(programs=[names.EXPORTER])), names.EXPORTER, "read", topic) is (
                programme == 1
            )
            assert not may(grants("public", policy(programs=[names.EXPORTER])), names.EXPORTER, "read", topic)
    for topic in (names.LEDGER_TOPIC, names.REJECTED_TOPIC, names.filter_topic("young"), names.owner_topic("alice")):
        for site in SITES:
            assert not may(grants(site, policy(programs=[names.EXPORTER])), names.EXPORTER, "read", topic)
