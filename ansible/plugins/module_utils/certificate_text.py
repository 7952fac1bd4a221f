"""Finds the certificates in a text. Runs on hosts, too, and needs only Python's own library."""

from __future__ import annotations

import hashlib
import re
import ssl

BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


def fingerprints(text: str) -> list[str]:
    """SHA-256 of each certificate, in hexadecimal digits. Unreadable certificates are left out."""
    found = []
    for block in BLOCK.findall(text):
        try:
            found.append(hashlib.sha256(ssl.PEM_cert_to_DER_cert(block)).hexdigest())
        except ValueError:  # a damaged file has no authority
            continue
    return found
