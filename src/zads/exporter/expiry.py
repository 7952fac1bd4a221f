"""How long the certificates that brokers serve are valid, seen as every client sees them."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from zads.exporter import figures
from zads.exporter.figures import Found
from zads.site.cluster import Cluster
from zads.site.policy import Site

_ANSWER = 10.0
_DAY = 86_400.0
_EXPIRED = 10  # OpenSSL's X509_V_ERR_CERT_HAS_EXPIRED


@dataclass(frozen=True)
class Expiry:
    """Looks at a site. ``conf``: a client on an encrypted listener; ``hosts`` says the inventory's brokers."""

    site: Site
    conf: Mapping[str, str]
    hosts: Callable[[], Mapping[int, str]]

    def look(self) -> Found:
        """The figures now. Raises OSError, or confluent_kafka.KafkaException if the site does not answer."""
        if "ssl" not in self.conf.get("security.protocol", "").lower():
            return {}
        context = ssl.create_default_context(cafile=self.conf["ssl.ca.location"])
        found: Found = {}
        for authority in context.get_ca_certs():
            key = (figures.AUTHORITY_DAYS, (self.site,))
            found[key] = min(found.get(key, float("inf")), _days(authority))
        hosts = self.hosts()
        for number, broker in Cluster(self.conf).metadata().brokers.items():
            days = served(context, broker.host, broker.port)
            host = hosts.get(number, "not in the inventory")
            found[figures.CERTIFICATE_DAYS, (self.site, str(number), host)] = days
        return found


def served(context: ssl.SSLContext, host: str, port: int) -> float:
    """Days until the certificate that a server shows expires; 0 if it has. Raises OSError for all that is not valid."""
    try:
        with (
            socket.create_connection((host, port), timeout=_ANSWER) as connection,
            context.wrap_socket(connection, server_hostname=host) as encrypted,
        ):
            return _days(encrypted.getpeercert() or {})
    except ssl.SSLCertVerificationError as error:
        if error.verify_code == _EXPIRED:
            return 0.0
        raise


def _days(certificate: Any) -> float:
    return (ssl.cert_time_to_seconds(str(certificate["notAfter"])) - time.time()) / _DAY
