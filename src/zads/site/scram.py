"""The client's side of SCRAM-SHA-512 (RFC 5802, without channel binding), for the requests that we write ourselves.

1. The client sends its name and a nonce.
2. The server answers with the nonce and its own, a salt and a number of iterations.
3. The client proves that it knows the password.
4. The server proves that it does, too.

The library that makes all other requests does not give its connection away. The password itself is never sent.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets

MECHANISM = "SCRAM-SHA-512"
_HASH = "sha512"
_HEAD = "n,,"  # no channel binding
#: A server that asks for more wants to keep the client busy. Kafka's default is 4096, ours 8192.
_MOST_ITERATIONS = 1_000_000


class ScramError(ValueError):
    """The server's answer is not one to this client, or the server does not know the password."""


class Scram:
    """One conversation: `first`, then `proof` of the server's answer, then `check` of its last one."""

    def __init__(self, user: str, password: str, nonce: str | None = None) -> None:
        name = user.replace("=", "=3D").replace(",", "=2C")
        self._password = password.encode()
        self._nonce = nonce or secrets.token_urlsafe(24)
        self._bare = f"n={name},r={self._nonce}"
        self._signature = b""

    def first(self) -> bytes:
        """Step 1."""
        return f"{_HEAD}{self._bare}".encode()

    def proof(self, answer: bytes) -> bytes:
        """Step 3, from what the server sent in step 2. Raises ScramError."""
        said = answer.decode(errors="replace")
        parts = _parts(said)
        nonce = parts.get("r", "")
        if not nonce.startswith(self._nonce) or nonce == self._nonce:
            raise ScramError("the server answers with another nonce")
        try:
            salt, iterations = base64.b64decode(parts["s"], validate=True), int(parts["i"])
        except (KeyError, binascii.Error, ValueError) as error:
            raise ScramError("the server sends no salt, or no number of iterations") from error
        if not 0 < iterations <= _MOST_ITERATIONS:
            raise ScramError(f"the server asks for {iterations} iterations")
        salted = hashlib.pbkdf2_hmac(_HASH, self._password, salt, iterations)
        bare = f"c={base64.b64encode(_HEAD.encode()).decode()},r={nonce}"
        said_by_both = f"{self._bare},{said},{bare}".encode()
        key = _hmac(salted, b"Client Key")
        proof = bytes(a ^ b for a, b in zip(key, _hmac(hashlib.new(_HASH, key).digest(), said_by_both), strict=True))
        self._signature = _hmac(_hmac(salted, b"Server Key"), said_by_both)
        return f"{bare},p={base64.b64encode(proof).decode()}".encode()

    def check(self, answer: bytes) -> None:
        """Step 4. Raises ScramError if the server has not proved that it knows the password."""
        shown = _parts(answer.decode(errors="replace")).get("v", "")
        expected = base64.b64encode(self._signature).decode()
        if not self._signature or not hmac.compare_digest(shown.encode(), expected.encode()):
            raise ScramError("the server does not prove that it knows the password")


def _parts(said: str) -> dict[str, str]:
    return {key: value for key, equals, value in (part.partition("=") for part in said.split(",")) if equals}


def _hmac(key: bytes, content: bytes) -> bytes:
    return hmac.digest(key, content, _HASH)
