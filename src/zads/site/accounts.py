"""The accounts that a cluster has. Kafka tells an account's mechanism and rounds of hashing, and never its password."""

from __future__ import annotations

from typing import Any

from zads.site.cluster import ANSWER

Accounts = dict[str, dict[str, int]]
"""User -> mechanism, such as ``SCRAM-SHA-512`` -> iterations."""


def present(client: Any) -> Accounts:
    """Every account, as an administration client sees it. Raises confluent_kafka.KafkaException."""
    described = client.describe_user_scram_credentials(request_timeout=ANSWER).result(2 * ANSWER)
    return {
        user: {mechanism_name(info.mechanism): info.iterations for info in description.scram_credential_infos}
        for user, description in described.items()
    }


def mechanism_name(mechanism: Any) -> str:
    """A mechanism in Kafka's words."""
    return str(mechanism.name).replace("_", "-")
