"""A hostile client of one broker. drill_attack.py runs it in a container.

Arguments: ADDRESS BROKERS_PORT CLIENTS_PORT CLAIM; USER and PASSWORD in the environment. It opens all connections,
prints a line of JSON with how many of each kind the broker still holds, and keeps them until it is killed.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets
import select
import socket
import ssl
import struct
import sys
import time

SILENT = 200  # connections that never authenticate


def tls(address: str, port: int) -> ssl.SSLSocket:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # an attacker does not check the broker's name
    return context.wrap_socket(socket.create_connection((address, port), timeout=10))


def ask(connection: ssl.SSLSocket, key: int, version: int, body: bytes) -> bytes:
    """Send a request of Kafka's protocol. Returns the answer without its correlation id."""
    header = struct.pack(">hhih", key, version, 1, 6) + b"attack"
    connection.sendall(struct.pack(">i", len(header) + len(body)) + header + body)
    size = struct.unpack(">i", read(connection, 4))[0]
    return read(connection, size)[4:]


def read(connection: ssl.SSLSocket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        if not (more := connection.recv(size - len(data))):
            raise OSError("closed")
        data += more
    return data


def log_in(connection: ssl.SSLSocket, user: str, password: str) -> None:
    """Log in by SCRAM-SHA-512 (RFC 5802) with SaslHandshake and SaslAuthenticate."""
    mechanism = b"SCRAM-SHA-512"
    ask(connection, 17, 1, struct.pack(">h", len(mechanism)) + mechanism)
    first = f"n={user},r={secrets.token_urlsafe(16)}"
    server = authenticate(connection, f"n,,{first}")
    parts = dict(part.split("=", 1) for part in server.split(","))
    salted = hashlib.pbkdf2_hmac("sha512", password.encode(), base64.b64decode(parts["s"]), int(parts["i"]))
    key = hmac.digest(salted, b"Client Key", "sha512")
    last = f"c=biws,r={parts['r']}"
    signature = hmac.digest(hashlib.sha512(key).digest(), f"{first},{server},{last}".encode(), "sha512")
    proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, signature, strict=True))).decode()
    authenticate(connection, f"{last},p={proof}")


def authenticate(connection: ssl.SSLSocket, message: str) -> str:
    answer = ask(connection, 36, 0, struct.pack(">i", len(message)) + message.encode())
    code, length = struct.unpack(">hh", answer[:4])
    if code:
        raise OSError(f"refused: {code}")
    start = 4 + max(length, 0)
    size = struct.unpack(">i", answer[start : start + 4])[0]
    return answer[start + 4 : start + 4 + size].decode()


def is_open(connection: socket.socket) -> bool:
    try:
        if not select.select([connection], [], [], 0)[0]:
            return True
        connection.settimeout(0.2)
        return connection.recv(65536) != b""
    except TimeoutError:
        return True
    except OSError:
        return False


def main(address: str, brokers: int, clients: int, claim: int) -> None:
    held: dict[str, list[socket.socket]] = {}

    def attempt(kind: str, number: int, port: int, *, inside: bool = False, size: int = 0, slow: bool = False) -> None:
        mine = held.setdefault(kind, [])
        for _ in range(number):
            try:
                if slow:
                    connection: socket.socket = socket.create_connection((address, port), timeout=10)
                    connection.sendall(b"\x16\x03")  # the first bytes of a handshake
                else:
                    connection = tls(address, port)
                    if inside:
                        log_in(connection, os.environ["USER"], os.environ["PASSWORD"])
                    if size:
                        connection.sendall(struct.pack(">i", size))
                mine.append(connection)
            except OSError:
                continue

    attempt("password, claim of 100 MB", 1, clients, inside=True, size=100_000_000)
    attempt("stranger, claim of 100 MB", 4, clients, size=100_000_000)
    attempt("password, largest claims", 40, clients, inside=True, size=claim)
    attempt("slow handshakes at the brokers' listener", SILENT, brokers, slow=True)
    attempt("silent at the clients' listener", SILENT, clients)
    time.sleep(2)  # until closed connections are seen as closed
    sys.stdout.write(json.dumps({kind: sum(map(is_open, mine)) for kind, mine in held.items()}) + "\n")
    sys.stdout.flush()
    while True:
        time.sleep(60)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
