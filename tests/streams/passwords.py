"""Brokers to which users log in with a password, so that a test can use the rights that a deployment gives."""

from __future__ import annotations

from collections.abc import Iterable

from bench.broker import Broker

PASSWORD = "of-all"


def settings(users: Iterable[str]) -> dict[str, object]:
    """Settings of a broker with a listener for these users, beside that of the administrator."""
    login = "org.apache.kafka.common.security.plain.PlainLoginModule required " + " ".join(
        f'user_{name}="{PASSWORD}"' for name in users
    )
    return {
        "listeners": "PLAINTEXT://0.0.0.0:9092,SASL_PLAINTEXT://0.0.0.0:9093",
        "advertised.listeners": "PLAINTEXT://ADDRESS:9092,SASL_PLAINTEXT://ADDRESS:9093",
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl_plaintext.plain.sasl.jaas.config": f"{login};",
    }


def conf(broker: Broker, user: str) -> dict[str, str]:
    """The properties of a user of such a broker."""
    return {
        "bootstrap.servers": broker.conf["bootstrap.servers"].replace(":9092", ":9093"),
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": user,
        "sasl.password": PASSWORD,
    }
