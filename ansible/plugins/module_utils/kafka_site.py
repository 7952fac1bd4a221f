"""The common part of the modules that speak to a site's Kafka.

They run on the control machine with the interpreter of ansible-playbook, which has the package zads. Each module reads
the present state of a site, compares it with the wanted state (a pure function of ``zads.site``), and applies the
difference, except in check mode.
"""

from __future__ import annotations

import time

from ansible.module_utils.basic import AnsibleModule
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ConfigSource,
    NewPartitions,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)

from zads.errors import ZadsError
from zads.kafka import admin, read_properties
from zads.site.access import Acl
from zads.site.topics import Topic

ANSWER = 30  # seconds that a request may take
SPREAD = 60  # seconds until every broker knows of a new topic
PAUSE = 0.3
# Errors that a client gets while a broker or the controller moves.
PASSING = {
    KafkaError._TRANSPORT,
    KafkaError._TIMED_OUT,
    KafkaError._WAIT_COORD,
    KafkaError.NOT_CONTROLLER,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError.BROKER_NOT_AVAILABLE,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    # Errors after a lost answer: the request was repeated, or the broker that was asked does not know the topic yet.
    KafkaError.TOPIC_ALREADY_EXISTS,
}

# librdkafka calls the resource type of the cluster itself "broker".
RESOURCES = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "cluster": ResourceType.BROKER,
    "transactional_id": ResourceType.TRANSACTIONAL_ID,
}
RESOURCE_NAMES = {kind: name for name, kind in RESOURCES.items()}


def site_module(**arguments) -> AnsibleModule:
    """A module with these arguments, and ``client``: the administrator's properties file of the site."""
    return AnsibleModule(
        argument_spec={"client": {"type": "path", "required": True}, **arguments}, supports_check_mode=True
    )


def run(module: AnsibleModule, work) -> None:
    """Do ``work(site)`` and end the module with the dictionary that it returns, or with one sentence for an error.

    While a broker or the controller moves, the work is repeated for at most SPREAD seconds. A repetition does no harm,
    since the work compares before it changes anything.
    """
    deadline = time.monotonic() + SPREAD
    altered = False
    while True:
        site = None
        try:
            site = Site(module.params["client"])
            result = work(site)
            break
        except ZadsError as error:
            module.fail_json(msg=str(error))
        except KafkaException as error:
            reason = error.args[0]
            passing = site is not None and site.answered and isinstance(reason, KafkaError) and reason.code() in PASSING
            if not passing or time.monotonic() > deadline:
                text = reason.str() if isinstance(reason, KafkaError) else str(reason)
                module.fail_json(msg=f"the site of {module.params['client']} answers: {text}")
            altered = altered or site.altered
            time.sleep(PAUSE)
    module.exit_json(**{**result, "changed": result["changed"] or altered})


def ansible_diff(before, after) -> dict:
    """Two lists of lines, in the form of a difference that ``--diff`` prints."""
    return {"before": "".join(f"{line}\n" for line in before), "after": "".join(f"{line}\n" for line in after)}


class Site:
    """A cluster as its administrator sees it."""

    def __init__(self, client_file: str) -> None:
        # Without this librdkafka also writes every failed connection to standard error.
        self.conf = {**read_properties(client_file), "log_level": "0"}
        self.client = admin(self.conf)
        self.answered = False
        self.altered = False

    def metadata(self):
        """Brokers, topics and partitions. Raises KafkaException when no broker answers."""
        metadata = self.client.list_topics(timeout=ANSWER)
        self.answered = True
        return metadata

    def settle(self, answers: dict) -> None:
        """Wait for all answers to an alteration, then raise the first failure, if any."""
        self.altered = True
        if failed := [error for answer in answers.values() if (error := answer.exception(ANSWER + SPREAD))]:
            raise failed[0]

    # topics

    def topics(self, names=None) -> dict[str, Topic]:
        """Topics by name (all, or those of ``names`` that exist), each with the settings made for it."""
        there = self.metadata().topics
        chosen = sorted(there if names is None else set(names) & set(there))
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in chosen]
        settings = {}
        if resources:
            for resource, answer in self.client.describe_configs(resources, request_timeout=ANSWER).items():
                own = ConfigSource.DYNAMIC_TOPIC_CONFIG.value
                entries = answer.result(ANSWER).values()
                settings[resource.name] = {entry.name: entry.value for entry in entries if entry.source == own}
        return {
            name: Topic(
                name,
                len(there[name].partitions),
                min((len(partition.replicas) for partition in there[name].partitions.values()), default=0),
                settings[name],
            )
            for name in chosen
        }

    def create_topics(self, wanted: list[Topic]) -> None:
        """Create topics, and wait until each has a leader for every partition."""
        self._await_brokers(max(topic.replication_factor for topic in wanted))
        new = [NewTopic(t.name, t.partitions, t.replication_factor, config=t.config) for t in wanted]
        self.settle(self.client.create_topics(new, operation_timeout=ANSWER, request_timeout=ANSWER))
        self._await_partitions({topic.name: topic.partitions for topic in wanted})

    def grow_topics(self, counts: dict[str, int]) -> None:
        """Give topics more partitions, and wait until the new ones have leaders."""
        new = [NewPartitions(name, count) for name, count in counts.items()]
        self.settle(self.client.create_partitions(new, operation_timeout=ANSWER, request_timeout=ANSWER))
        self._await_partitions(counts)

    def set_topics(self, settings: dict[str, dict[str, str | None]]) -> None:
        """Change settings of topics; None goes back to the broker's default."""
        resources = [
            ConfigResource(ResourceType.TOPIC, name, incremental_configs=_entries(values))
            for name, values in settings.items()
        ]
        self.settle(self.client.incremental_alter_configs(resources, request_timeout=ANSWER))

    # settings of brokers

    def broker_settings(self, number: int) -> tuple[dict[str, str | None], frozenset[str], list[str]]:
        """What a running broker was given, what it can be given, and what all brokers were given together.

        The value of a secret is None.
        """
        resource = ConfigResource(ResourceType.BROKER, str(number))
        (answer,) = self.client.describe_configs([resource], request_timeout=ANSWER).values()
        entries = answer.result(ANSWER).values()
        own, everywhere = (
            {entry.name: entry.value for entry in entries if entry.source == source.value}
            for source in (ConfigSource.DYNAMIC_BROKER_CONFIG, ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG)
        )
        return own, frozenset(entry.name for entry in entries if not entry.is_read_only), sorted(everywhere)

    def set_broker(self, number: int, settings: dict[str, str | None]) -> None:
        """Give a running broker settings; None takes one away, so that its file decides again."""
        resource = ConfigResource(ResourceType.BROKER, str(number), incremental_configs=_entries(settings))
        self.settle(self.client.incremental_alter_configs([resource], request_timeout=ANSWER))

    def _await_brokers(self, number: int) -> None:
        """Wait until there are enough brokers: one that was just restarted counts once the others know of it."""
        deadline = time.monotonic() + SPREAD
        while (there := len(self.metadata().brokers)) < number:
            if time.monotonic() > deadline:
                raise ZadsError(
                    f"{number} replicas need as many brokers, and {there} are up after {SPREAD} s",
                    hint="start the missing brokers, or lower topics_night.replication_factor",
                )
            time.sleep(PAUSE)

    def _await_partitions(self, counts: dict[str, int]) -> None:
        deadline = time.monotonic() + SPREAD
        while True:
            there = self.metadata().topics
            waiting = [
                name
                for name, count in counts.items()
                if name not in there
                or sum(partition.leader >= 0 for partition in there[name].partitions.values()) < count
            ]
            if not waiting:
                return
            if time.monotonic() > deadline:
                raise ZadsError(f"no leader for every partition of {', '.join(waiting)} after {SPREAD} s")
            time.sleep(PAUSE)

    # grants

    def acls(self) -> list[Acl]:
        """Every access control entry of the cluster."""
        everything = AclBindingFilter(
            ResourceType.ANY, None, ResourcePatternType.ANY, None, None, AclOperation.ANY, AclPermissionType.ANY
        )
        return [_as_acl(binding) for binding in self.client.describe_acls(everything, request_timeout=ANSWER).result()]

    def create_acls(self, acls: list[Acl]) -> None:
        """Add entries."""
        self.settle(self.client.create_acls([_as_binding(acl, AclBinding) for acl in acls], request_timeout=ANSWER))

    def delete_acls(self, acls: list[Acl]) -> None:
        """Remove exactly these entries."""
        self.settle(
            self.client.delete_acls([_as_binding(acl, AclBindingFilter) for acl in acls], request_timeout=ANSWER)
        )


def _entries(settings: dict[str, str | None]) -> list[ConfigEntry]:
    """Changes of settings, one by one; None takes a setting away."""
    return [
        ConfigEntry(
            name, value, incremental_operation=AlterConfigOpType.DELETE if value is None else AlterConfigOpType.SET
        )
        for name, value in settings.items()
    ]


def _as_acl(binding: AclBinding) -> Acl:
    return Acl(
        binding.principal,
        RESOURCE_NAMES.get(binding.restype, binding.restype.name.lower()),
        binding.name,
        binding.resource_pattern_type.name.lower(),
        binding.operation.name.lower(),
        binding.permission_type.name.lower(),
        binding.host,
    )


def _as_binding(acl: Acl, kind):
    return kind(
        RESOURCES[acl.resource],
        acl.name,
        ResourcePatternType[acl.pattern.upper()],
        acl.principal,
        acl.host,
        AclOperation[acl.operation.upper()],
        AclPermissionType[acl.permission.upper()],
    )
