"""`make check` names what somebody has edited by hand, of every kind, and a deployment puts it right."""

from __future__ import annotations

import re

from local_system import System, client, playbook, run
from zads import names, quotas
from zads.site.access import Acl
from zads.site.cluster import Cluster

UNIT = "/etc/systemd/system/zookeeper.service"
READER = "User:reader"
#: What the check says of each edit.
NAMED = {
    "a file": r"^-\s*min\.insync\.replicas=1$",
    "a unit": r"^-StartLimitIntervalSec=9$",
    "a package": r"TASK \[container_engine : Install the engine[^\n]*\n(.*\n)*?changed: \[apps-1\]",
    "an image": r"TASK \[container_image : Copy the image's archive[^\n]*\n(.*\n)*?changed: \[apps-1\]",
    "a topic": rf"{names.REJECTED_TOPIC}.*retention\.ms",
    "a broker's setting": r"broker 2 of public: log\.retention\.ms",
    "a grant that was added": rf"^-\s*allow {READER} read topic\b",
    "a grant that was taken": rf"^\+\s*allow {READER} ",
    "a limit": r"^-\s*user reader: .*consumer_byte_rate",
}


def edit(system: System) -> None:
    """Edit one thing of every kind by hand."""
    system.on("origin-2", "sed -i 's/^min.insync.replicas=.*/min.insync.replicas=1/' /etc/kafka/server.properties")
    system.on("public-3", f"sed -i 's/^StartLimitIntervalSec=0/StartLimitIntervalSec=9/' {UNIT}")
    system.on("apps-1", "dpkg --purge --force-depends zstd")
    tag = system.on("apps-1", "docker image ls --format '{{.Repository}}:{{.Tag}}' zads/producer | head -n 1").strip()
    system.on("apps-1", f"printf 'FROM {tag}\\nLABEL edited=by-hand\\n' | docker build --quiet --tag {tag} -")
    system.on("apps-1", "systemctl restart zads-producer")
    origin, public = (Cluster(client(f"admin-{site}")) for site in ("origin", "public"))
    origin.set_topics({names.REJECTED_TOPIC: {"retention.ms": "3600000"}})
    public.set_broker(2, {"log.retention.ms": "3600000"})
    public.create_acls([Acl(READER, "topic", names.REJECTED_TOPIC, "literal", "read")])
    public.delete_acls([acl for acl in public.acls() if acl.principal == READER and acl.resource == "group"])
    quotas.alter(client("admin-public"), {quotas.user("reader"): {"consumer_byte_rate": 1000.0}})


def test_check_names_hand_edits_of_every_kind(system: System) -> None:
    edit(system)
    edited = "docker ps --quiet --filter label=edited"
    before = system.on("apps-1", edited)
    found = run("make", "check", check=False).stdout
    playbook("deploy")  # first, so that a failure below leaves no edit behind
    missing = [kind for kind, pattern in NAMED.items() if not re.search(pattern, found, re.M)]
    assert missing == [], found[-20_000:]
    named = re.search(r"^check: differs from the inventory: (.*); the differences", found, re.M)
    assert named is not None, found[-3000:]
    hosts = set(re.findall(r"(\S+) \(\d+\)", named[1]))
    assert hosts >= {"origin-1", "origin-2", "public-1", "public-2", "public-3", "apps-1"}
    assert "every host is what inventories/local says" in run("make", "check").stdout
    assert before != ""
    assert system.on("apps-1", edited) == "", "a program still runs from the image that was edited"
