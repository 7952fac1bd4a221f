"""Which certificates a text holds. Runs on hosts too, with no more than Python's own library."""

from __future__ import annotations

import hashlib
import re
import ssl

BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


def fingerprints(text: str) -> list[str]:
    """SHA-256 of each certificate, in hexadecimal digits. What cannot be read is left out."""
    found = []
    for block in BLOCK.findall(text):
        try:
            found.append(hashlib.sha256(ssl.PEM_cert_to_DER_cert(block)).hexdigest())
        except ValueError:  # a damaged file knows nobody
            continue
    return found
