"""The board as a service: its reader, its look at the sites, and the web server, until it is asked to stop."""

from __future__ import annotations

import contextlib
import ipaddress
import secrets
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from zads import wholefile
from zads.board import app, health
from zads.board.passwords import Passwords
from zads.board.pictures import Pictures
from zads.board.sessions import Sessions
from zads.board.settings import SettingsFile
from zads.board.stream import HUNG_SECONDS, Stream
from zads.board.view import PUBLIC
from zads.errors import ZadsError
from zads.watchdog import Watchdog

#: Connections at the same time; further ones are answered 503.
CONNECTIONS = 1_000
_STOP_SECONDS = 3
_KEY_BYTES = 24
#: For TLS 1.2: forward secrecy and authenticated encryption. All suites of TLS 1.3 have them.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


@dataclass(frozen=True)
class Listener:
    """Where the board is served. Without a certificate it is served in the clear, to this computer alone.

    ``proxies``: addresses whose word about the client's address is taken.
    """

    host: str
    port: int
    certificate: Path | None = None
    key: Path | None = None
    proxies: tuple[str, ...] = ()

    def check(self) -> None:
        """Raises ZadsError for a listener that would send passwords and cookies in the clear."""
        if (self.certificate is None) != (self.key is None):
            raise ZadsError("a certificate needs its key", hint="give both --certificate and --key, or neither")
        if self.certificate is None and not _is_loopback(self.host):
            raise ZadsError(
                f"without a certificate the board is not served at {self.host}",
                hint="give --certificate and --key, or listen on 127.0.0.1",
            )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_key(path: Path | None) -> str:
    """The secret that signs sessions; a new one without a file, so that sessions end with this process.

    Raises ZadsError or OSError if the file cannot be used.
    """
    if path is None:
        return secrets.token_urlsafe(_KEY_BYTES)
    key = wholefile.read(path).decode().strip()
    if len(key) < _KEY_BYTES:
        raise ZadsError(f"{path} is too short for a key", hint=f"it needs {_KEY_BYTES} characters or more")
    return key


def run(
    confs: Mapping[str, Mapping[str, str]],
    listener: Listener,
    *,
    settings: SettingsFile | None = None,
    key: str,
    audited: Path | None = None,
    heartbeat: Path | None = None,
) -> None:
    """Serve until SIGTERM. ``confs``: properties of a client of the public site, and of origin if it is looked at.

    Raises ZadsError if it cannot listen.
    """
    listener.check()
    public = confs["public"]

    def programmes() -> frozenset[int]:
        return settings.look().allowed("public") if settings else PUBLIC

    def groups() -> dict[str, frozenset[int]]:
        policy = settings.look() if settings else None
        return {group: policy.read_by(group) for group in policy.groups()} if policy else {}

    def expected() -> Mapping[str, Mapping[int, str]]:
        return settings.settings.brokers if settings else {}

    watchdog = Watchdog("board", HUNG_SECONDS, heartbeat=heartbeat)
    stream = Stream(public, programmes, watchdog.beat)
    doctor = health.Doctor(confs, expected, programmes, groups, lambda: stream.ends.copy())
    board = app.Board(
        stream,
        lambda: doctor.health,
        Pictures(public, lambda: settings.settings.object_page if settings else ""),
        Sessions(key),
        Passwords(public),
        settings,
        audited,
        tls=listener.certificate is not None,
    )
    server = Server(board, listener)
    stream.start()
    doctor.start()
    try:
        server.run()
    finally:
        watchdog.rest()
        stream.close()
        doctor.close()
    if not server.started:
        raise ZadsError(f"cannot listen on {listener.host}:{listener.port}", hint="is the port in use?")


class Server:
    """The web server. ``started``: whether it has been able to listen."""

    def __init__(self, board: app.Board, listener: Listener) -> None:
        self._server = uvicorn.Server(
            uvicorn.Config(
                board.application,
                host=listener.host,
                port=listener.port,
                ssl_certfile=listener.certificate,
                ssl_keyfile=listener.key,
                ssl_ciphers=_CIPHERS,
                proxy_headers=bool(listener.proxies),
                forwarded_allow_ips=list(listener.proxies),
                limit_concurrency=CONNECTIONS,
                timeout_graceful_shutdown=_STOP_SECONDS,
                timeout_keep_alive=10,
                server_header=False,
                access_log=False,
                log_config=None,
                lifespan="off",
            )
        )
        board.live.stopping = lambda: bool(self._server.should_exit)

    @property
    def started(self) -> bool:
        """Whether it has been able to listen."""
        return bool(self._server.started)

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT."""
        # uvicorn takes the signals, and at its end sends those that it took to the handlers before it.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        with contextlib.suppress(SystemExit):  # uvicorn's answer to a port in use
            self._server.run()
