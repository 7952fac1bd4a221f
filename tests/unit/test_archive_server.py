"""The server of the archives, as its role configures nginx: it serves public archives, and nothing else exists."""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml

from zads.archive.catalogue import Catalogue
from zads.archive.record import Archive
from zads.site.certificates import Pair

ROOT = Path(__file__).resolve().parents[2]
ROLE = ROOT / "roles" / "archive_server"
NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin")
STEM = "ztf_20181129_programid1"
DATA = bytes(range(256)) * 200

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed: apt-get install nginx")


def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Server:
    """nginx as it is deployed, but for its paths."""

    def __init__(self, directory: Path, **variables: Any) -> None:
        self.port, self._directory = port(), directory
        self.public = Catalogue(directory / "archive").directory / "public"
        (directory / "run").mkdir()
        authority = Pair.make(directory / "ca", "ZADS archives")
        pair = Pair.make(directory / "server", "localhost", names=["localhost", "127.0.0.1"], issuer=authority)
        authority.save()
        pair.save()
        defaults = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
        text = jinja2.Environment(undefined=jinja2.StrictUndefined).from_string(
            (ROLE / "templates/nginx.conf.j2").read_text()
        )
        configuration = directory / "nginx.conf"
        configuration.write_text(
            text.render(
                {
                    **defaults,
                    "archive_server_port": self.port,
                    "_archive_server_programmes": "1",
                    "_archive_server_root": self.public,
                    "_archive_server_run": directory / "run",
                    "_archive_server_configuration": directory,
                    **variables,
                }
            )
        )
        command = [str(NGINX), "-c", str(configuration), "-e", "stderr"]
        if os.geteuid() == 0:  # deployed, it has no privileges that it could drop
            command += ["-g", "user root;"]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE)
        self.trust = ssl.create_default_context(cafile=str(directory / "ca.crt"))
        deadline = time.monotonic() + 20
        while self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                break
            except OSError:
                assert time.monotonic() < deadline, "nginx does not answer"
                time.sleep(0.05)
        assert self._process.poll() is None, self._process.stderr.read()

    def ask(self, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPSConnection("localhost", self.port, context=self.trust, timeout=20)
        try:
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def stop(self) -> None:
        self._process.terminate()
        self._process.communicate(timeout=20)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("server")
    # Requests of a test come faster than those of people.
    found = Server(directory, archive_server_requests=1000, archive_server_connections=100)
    catalogue = Catalogue(directory / "archive")
    one = Archive("20181129", 1, 1, 1, 1, 1, len(DATA), "0" * 64, "0" * 64, "2018-11-30T02:00:00+00:00")
    for programme in (1, 2):
        made = catalogue.work / "made"
        made.write_bytes(DATA)
        # Somebody has put an archive of programme 2 where it must not be.
        changed = Archive(**{**vars(one), "programme": programme})
        catalogue.publish(changed, made, public=True)
    (directory / "archive/public/notes.txt").write_text("somebody's")
    (directory / "archive/public/ztf_20181130_programid1.tar.gz").symlink_to("/etc/passwd")
    (directory / "archive/private/ztf_20181128_programid2.tar.gz").write_bytes(b"secret")
    try:
        yield found
    finally:
        found.stop()


def test_the_list_and_an_archive_with_its_checksum_are_served(server: Server) -> None:
    status, headers, page = server.ask("/")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert f'href="{STEM}.tar.gz"'.encode() in page
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["server"] == "nginx", "it does not tell its version"
    assert server.ask("/index.json")[0] == 200
    assert server.ask(f"/{STEM}.tar.gz")[2] == DATA
    assert server.ask(f"/{STEM}.tar.gz")[1]["content-type"] == "application/gzip"
    assert server.ask(f"/{STEM}.tar.gz.sha256")[2].endswith(f"  {STEM}.tar.gz\n".encode())
    assert server.ask(f"/{STEM}.json")[0] == 200
    assert server.ask(f"/{STEM}.tar.gz", "HEAD")[1]["content-length"] == str(len(DATA))


def test_a_download_can_be_resumed(server: Server) -> None:
    status, headers, rest = server.ask(f"/{STEM}.tar.gz", Range="bytes=1000-")
    assert (status, rest) == (206, DATA[1000:])
    assert headers["content-range"] == f"bytes 1000-{len(DATA) - 1}/{len(DATA)}"
    etag = headers["etag"]
    assert server.ask(f"/{STEM}.tar.gz", **{"Range": "bytes=1000-", "If-Range": etag})[0] == 206
    assert server.ask(f"/{STEM}.tar.gz", **{"Range": "bytes=1000-", "If-Range": '"other"'})[0] == 200
    assert server.ask(f"/{STEM}.tar.gz", Range="bytes=0-1,4-5,8-9")[0] != 206, "many ranges are answered in one piece"


@pytest.mark.parametrize(
    "path",
    [
        "/ztf_20181129_programid2.tar.gz",
        "/ztf_20181129_programid2.json",
        "/ztf_20181130_programid1.tar.gz",
        "/notes.txt",
        "/../private/ztf_20181128_programid2.tar.gz",
        "/%2e%2e/private/ztf_20181128_programid2.tar.gz",
        "/..%2fprivate%2fztf_20181128_programid2.tar.gz",
        "/./../../../../etc/passwd",
        "//etc/passwd",
        "/work/state.json",
        "/.index.json.part",
        "/index.html/",
        "/index.html%00.tar.gz",
        f"/{STEM}.tar.gz/",
        f"/{STEM}.tar.gz%0a",
        f"/{STEM}.tar.gz.part",
        "/index.php?x=/etc/passwd",
    ],
)
def test_nothing_else_exists(server: Server, path: str) -> None:
    status, _, body = server.ask(path)
    assert status in (400, 403, 404)
    assert b"secret" not in body
    assert b"root:" not in body
    assert DATA[:100] not in body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PROPFIND"])
def test_nothing_can_be_written(server: Server, method: str) -> None:
    assert server.ask("/index.html", method)[0] == 405


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_only_tls_of_today_is_spoken(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), 5) as plain:
        plain.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert b" 400 " in plain.recv(100)
    old = ssl.create_default_context(cafile=str(server._directory / "ca.crt"))
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    with socket.create_connection(("127.0.0.1", server.port), 5) as connection, pytest.raises(ssl.SSLError):
        old.wrap_socket(connection, server_hostname="localhost")


def test_one_address_cannot_take_everything(tmp_path: Path) -> None:
    server = Server(tmp_path, archive_server_requests=1)
    try:
        answers = {server.ask("/index.json")[0] for _ in range(10)}
        assert 429 in answers
    finally:
        server.stop()
