"""The server's side of SCRAM-SHA-512, written from RFC 5802, for tests of the client's."""

from __future__ import annotations

import base64
import hashlib
import hmac

SALT, ITERATIONS = b"sixteen bytes...", 4096


class ScramServer:
    """Knows one password. `challenge` answers the client's first message, `verdict` its proof: None refuses it."""

    def __init__(self, password: str, *, iterations: int = ITERATIONS, knows: str | None = None) -> None:
        self.iterations = iterations
        self._password = password
        self._own = knows or password
        self._said = ""

    def challenge(self, first: bytes) -> bytes:
        bare = first.decode().removeprefix("n,,")
        nonce = bare.partition(",r=")[2]
        answer = f"r={nonce}SERVER,s={base64.b64encode(SALT).decode()},i={self.iterations}"
        self._said = f"{bare},{answer}"
        return answer.encode()

    def verdict(self, final: bytes) -> bytes | None:
        bare, _, shown = final.decode().partition(",p=")
        said = f"{self._said},{bare}".encode()
        salted = hashlib.pbkdf2_hmac("sha512", self._password.encode(), SALT, self.iterations)
        stored = hashlib.sha512(hmac.digest(salted, b"Client Key", "sha512")).digest()
        signature = hmac.digest(stored, said, "sha512")
        key = bytes(a ^ b for a, b in zip(base64.b64decode(shown), signature, strict=True))
        if hashlib.sha512(key).digest() != stored:
            return None
        own = hashlib.pbkdf2_hmac("sha512", self._own.encode(), SALT, self.iterations)
        proof = hmac.digest(hmac.digest(own, b"Server Key", "sha512"), said, "sha512")
        return b"v=" + base64.b64encode(proof)
