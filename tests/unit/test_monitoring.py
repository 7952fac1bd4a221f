"""The roles of monitoring: what they write is what Prometheus, Alertmanager and nginx take, and strangers see nothing.

The roles are rendered by Ansible for hosts of inventories/local with a monitor. Where the programs are installed, they
judge the files themselves; nginx is started, and asked over TLS.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import http.server
import importlib
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from zads.exporter import Settings
from zads.site import monitoring

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent / "rendering"
PORT_SECONDS = 20.0

Files = dict[str, str]


class Rendered:
    """What the roles write: by host, unit and path."""

    def __init__(self, state: Path, directory: Path) -> None:
        self.state, self._directory = state, directory
        self.passwords: dict[str, str] = yaml.safe_load((state / "secrets/passwords.yml").read_text())

    def given(self, host: str, unit: str) -> dict[str, Any]:
        """The options that the module host_files was given for a unit."""
        (path,) = [one for one in (self._directory / host).glob("*.json") if unit in one.name]
        found: dict[str, Any] = json.loads(path.read_text())
        return found

    def last(self, host: str) -> dict[str, Any]:
        """The options that the module was given last without a unit."""
        found: dict[str, Any] = json.loads((self._directory / host / ".json").read_text())
        return found

    def files(self, host: str, unit: str) -> Files:
        """Every file of a unit, secrets too."""
        given = self.given(host, unit)
        return {one["path"]: one["content"] for one in given["files"]} | given["contents"]


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    top = tmp_path_factory.mktemp("monitoring")
    root, state, out = top / "root", top / "state", top / "out"
    images = root / ".zads/cache/images"
    for directory in (images, state / "secrets", out):
        directory.mkdir(parents=True)
    for name in ("src", "inventories", "roles", "ansible"):
        (root / name).symlink_to(ROOT / name)
    image = {"name": "zads/x", "tag": "zads/x:1", "archive": str(ROOT / "LICENSE"), "sha256": "0" * 64}
    for name in ("filter-worker", "producer"):
        (images / f"{name}.json").write_text(json.dumps(image))
    monitors = top / "monitors.json"
    on_apps = {"hosts": {"apps-1": {}}}
    bounded = {"public-1": {"host_metrics_networks": ["192.0.2.0/24"]}}
    monitors.write_text(
        json.dumps({"all": {"children": {"monitors": on_apps, "exporters": on_apps}, "hosts": bounded}})
    )
    variables = {
        "zads_env": "local", "zads_root": str(root), "zads_state": str(state), "rendered": str(out),
        "ansible_python_interpreter": sys.executable,
        "monitoring_rules": {"one": {"groups": [{"name": "g", "rules": [{"alert": "A", "expr": "up == 0"}]}]}},
        "alarms_to": [{"name": "night", "mail": "night@example.org"}],
        "alarms_mail": {"relay": "mail.example.org:587", "sender": "zads@example.org", "user": "zads"},
        "alarms_secrets": {"mail": "of-the-relay"},
    }  # fmt: skip
    result = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(ROOT / "inventories/local"),
         "-i", str(monitors), "--limit", "apps-1,origin-1,public-1", "-e", json.dumps(variables),
         str(HERE / "play.yml")],
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible/ansible.cfg"), "ANSIBLE_CACHE_PLUGIN": "memory",
             "ANSIBLE_LIBRARY": f"{HERE}:{ROOT}/ansible/plugins/modules"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout[-3000:]
    return Rendered(state, out)


def judged(program: str, arguments: list[str], directory: Path) -> None:
    """Let an installed program judge a file."""
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed: apt-get install prometheus prometheus-alertmanager nginx")
    result = subprocess.run([program, *arguments], cwd=directory, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def laid_out(files: Files, directory: Path) -> None:
    """Write the files below a directory, and let them name each other there."""
    for path, content in files.items():
        target = directory / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(re.sub(r"(?<![\w/])/(etc|run)/zads", rf"{directory}/\1/zads", content))


def test_prometheus_takes_its_files(rendered: Rendered, tmp_path: Path) -> None:
    laid_out(rendered.files("apps-1", "zads-prometheus"), tmp_path)
    load = tmp_path / "etc/zads/prometheus/load"
    judged("promtool", ["check", "config", "prometheus.yml"], load)
    judged("promtool", ["check", "web-config", "../web.yml"], load)
    assert (load / "rules-one.yml").exists()


def test_alertmanager_takes_its_files(rendered: Rendered, tmp_path: Path) -> None:
    laid_out(rendered.files("apps-1", "zads-alertmanager"), tmp_path)
    assert (tmp_path / "etc/zads/alertmanager/load/mail.secret").read_text() == "of-the-relay"
    judged("amtool", ["check-config", "etc/zads/alertmanager/load/alertmanager.yml"], tmp_path)


def test_a_secret_of_a_receiver_is_in_a_file_that_alertmanager_alone_reads(rendered: Rendered) -> None:
    given = rendered.given("apps-1", "zads-alertmanager")
    path = "/etc/zads/alertmanager/load/mail.secret"
    assert given["contents"][path] == "of-the-relay"
    (place,) = [one for one in given["secrets"] if one["path"] == path]
    assert place["owner"] == "zads-alertmanager"
    (config,) = [one["content"] for one in given["files"] if one["path"].endswith("alertmanager.yml")]
    assert yaml.safe_load(config)["global"]["smtp_auth_password_file"] == path
    assert "of-the-relay" not in json.dumps(given["files"])


def test_the_exporter_reads_what_its_role_writes(rendered: Rendered, tmp_path: Path) -> None:
    (written,) = rendered.last("apps-1")["files"]
    (tmp_path / "exporter.json").write_text(written["content"])
    found = Settings.read(tmp_path / "exporter.json")
    unit = rendered.files("apps-1", "zads-site-exporter")["/etc/systemd/system/zads-site-exporter.service"]
    assert f"--settings {written['path']}" in unit
    assert found.brokers["public"] == {1: "public-1", 2: "public-2", 3: "public-3"}
    assert found.policy.has("zads.exporter")
    assert found.free_percent == 5


def scraped(rendered: Rendered) -> list[dict[str, Any]]:
    text = rendered.files("apps-1", "zads-prometheus")["/etc/zads/prometheus/load/prometheus.yml"]
    found: list[dict[str, Any]] = yaml.safe_load(text)["scrape_configs"]
    return found


def test_every_scrape_has_tls_a_password_and_bounds(rendered: Rendered) -> None:
    for job in scraped(rendered):
        assert job["scheme"] == "https", job["job_name"]
        assert job["tls_config"] == {"ca_file": "/etc/zads/prometheus/load/ca.crt"}
        assert set(job["basic_auth"]) == {"username", "password_file"}
        assert job["sample_limit"] > 0


def test_every_host_is_asked_for_all_that_its_front_shows_and_for_nothing_else(rendered: Rendered) -> None:
    asked: dict[str, set[str]] = {}
    for job in scraped(rendered):
        for target in job["static_configs"]:
            labels = target["labels"]
            if "__metrics_path__" in labels:
                assert target["targets"] == [f"{labels['instance']}:9440"]
                asked.setdefault(labels["instance"], set()).add(labels["__metrics_path__"])
    assert set(asked) == {*(f"{site}-{number}" for site in ("origin", "public") for number in (1, 2, 3)), "apps-1"}
    for host in ("apps-1", "origin-1"):
        shown = rendered.files(host, "zads-metrics-front")["/etc/zads/metrics/nginx.conf"]
        assert set(re.findall(r"location = (\S+)", shown)) == asked[host]


def test_no_two_series_have_the_same_labels(rendered: Rendered) -> None:
    seen = [
        (job["job_name"], json.dumps({k: v for k, v in one["labels"].items() if not k.startswith("__")}))
        for job in scraped(rendered)
        for one in job["static_configs"]
    ]
    assert len(seen) == len(set(seen)) > 20


def test_workers_tell_where_the_front_asks_them(rendered: Rendered) -> None:
    front = rendered.files("apps-1", "zads-metrics-front")["/etc/zads/metrics/nginx.conf"]
    ports = dict(re.findall(r"location = /filter_worker/(\w+)/1 .*?proxy_pass http://127\.0\.0\.1:(\d+)", front, re.S))
    files = rendered.files("apps-1", "zads-filters-")
    assert len(set(ports.values())) == len(ports) == 2
    for group, port in ports.items():
        unit = files[f"/etc/systemd/system/zads-filters-{group}@.service"]
        assert f"Environment=METRICS_PORT_1={port}\n" in unit
        assert "--metrics-port ${METRICS_PORT_%i}\n" in unit


@pytest.mark.parametrize(
    ("host", "unit"),
    [("apps-1", f"zads-{one}") for one in ("prometheus", "alertmanager", "metrics-front", "node-exporter")],
)
def test_a_password_or_key_is_a_secret_of_its_program_alone_and_in_no_unit(
    rendered: Rendered, host: str, unit: str
) -> None:
    given = rendered.given(host, unit)
    secrets = [*rendered.passwords.values(), "PRIVATE KEY", "$2b$"]
    for file in given["files"]:
        assert not any(secret in file["content"] for secret in secrets), file["path"]
    owners = {one["owner"] for one in given["secrets"]}
    assert all(one.get("mode", "0400") == "0400" for one in given["secrets"])
    assert owners <= {
        re.search(r"^User=(\S+)$", rendered.files(host, unit)[f"/etc/systemd/system/{unit}.service"], re.M)[1]
    }  # type: ignore[index]


def test_only_the_front_and_the_pages_listen_beyond_their_host(rendered: Rendered) -> None:
    texts = [
        text
        for unit in ("prometheus", "alertmanager", "metrics-front", "node-exporter")
        for text in rendered.files("apps-1", f"zads-{unit}").values()
    ]
    text = "\n".join(texts)
    addresses = re.findall(r"listen-address=(\S*)", text) + re.findall(r"^ *listen (.*);", text, re.MULTILINE)
    assert sorted(addresses) == ["", "127.0.0.1:9407", "9440 ssl", ":9441", ":9442"]
    alertmanager = rendered.files("apps-1", "zads-alertmanager")["/etc/systemd/system/zads-alertmanager.service"]
    assert "--cluster.listen-address=\n" in alertmanager  # else it listens on 9094 without TLS


def defaults() -> dict[str, Any]:
    """Every default of every role, with constants of the package in the place of their names."""
    found: dict[str, Any] = {}
    for path in sorted((ROOT / "roles").glob("*/defaults/main.yml")):
        found |= yaml.safe_load(path.read_text()) or {}
    for name, value in found.items():
        if constant := re.fullmatch(r"\{\{ '([\w.]+)\.(\w+)' \| constant \}\}", str(value)):
            found[name] = getattr(importlib.import_module(f"zads.{constant[1]}"), constant[2])
    return found


def test_no_two_programs_of_a_host_have_the_same_port() -> None:
    ports: dict[int, str] = {}
    for name, value in defaults().items():
        if (name.endswith("_port") or name == "mirrormaker_metrics") and "role_default" not in str(value):
            port = int(str(value).rpartition(":")[2])
            assert port not in ports, f"{name} and {ports[port]} are {port}"
            ports[port] = name
    assert len(ports) > 10


def test_every_program_that_serves_metrics_is_asked_for_them() -> None:
    served = {name.removesuffix("_metrics_port") for name in defaults() if name.endswith("_metrics_port")}
    assert served - {"host"} | {"node", "mirrormaker"} == set(monitoring.PROGRAMS)  # a host has the front
    addresses = yaml.safe_load((ROOT / "roles/host_metrics/vars/main.yml").read_text())["_host_metrics_addresses"]
    assert set(addresses) | {monitoring.WORKER} == set(monitoring.PROGRAMS)


class Program(http.server.BaseHTTPRequestHandler):
    """A program behind a front: tells one metric, with how it was asked."""

    def do_GET(self) -> None:
        body = f'kafka_told{{path="{self.path}",password="{"Authorization" in self.headers}"}} 1\n'.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def authorization(password: str | None) -> dict[str, str]:
    """The headers of the user of the scrapes."""
    token = base64.b64encode(f"zads.scrape:{password}".encode()).decode()
    return {} if password is None else {"Authorization": f"Basic {token}"}


class Front:
    """nginx with the rendered configuration, on a free port, before a program of this test."""

    def __init__(self, rendered: Rendered, directory: Path, host: str = "origin-1") -> None:
        files = rendered.files(host, "zads-metrics-front")
        self.port, self.password = free_port(), rendered.passwords["zads.scrape"]
        self._authority = rendered.state / "secrets/monitoring/ca.crt"
        self._program = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Program)
        threading.Thread(target=self._program.serve_forever, daemon=True).start()
        conf = files["/etc/zads/metrics/nginx.conf"].replace("listen 9440", f"listen 127.0.0.1:{self.port}")
        conf = conf.replace("127.0.0.1:9401", f"127.0.0.1:{self._program.server_port}")
        laid_out({**files, "/etc/zads/metrics/nginx.conf": conf}, directory)
        (directory / "run/zads-metrics-front").mkdir(parents=True)
        (directory / "run/zads-metrics-front").chmod(0o777)
        binary = shutil.which("nginx") or ""
        options = ["-g", "user root;"] if os.geteuid() == 0 else []
        self._process = subprocess.Popen(
            [binary, "-e", "stderr", "-c", str(directory / "etc/zads/metrics/nginx.conf"), *options],
            stderr=subprocess.PIPE,
        )

    def ask(self, path: str, password: str | None = None, method: str = "GET") -> tuple[int, bytes]:
        """The status and the body of an answer. Raises OSError if there is none within PORT_SECONDS."""
        with contextlib.closing(self._connected()) as connection:
            connection.request(method, path, headers=authorization(password))
            answer = connection.getresponse()
            return answer.status, answer.read()

    def ask_often(self, path: str, password: str, times: int) -> list[int]:
        """The status of each answer on one connection, without a pause between them."""
        statuses = []
        with contextlib.closing(self._connected()) as connection:
            for _ in range(times):
                connection.request("GET", path, headers=authorization(password))
                answer = connection.getresponse()
                answer.read()
                statuses.append(answer.status)
        return statuses

    def _connected(self) -> http.client.HTTPSConnection:
        """A connection, as soon as nginx listens."""
        context = ssl.create_default_context(cafile=str(self._authority))
        context.check_hostname = False  # the certificate is the host's, and this is another
        until = time.monotonic() + PORT_SECONDS
        while True:
            connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=PORT_SECONDS, context=context)
            try:
                connection.connect()
            except ConnectionRefusedError:
                if self._process.poll() is not None or time.monotonic() > until:
                    raise
                time.sleep(0.05)
            else:
                return connection

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()
        self._program.shutdown()


@pytest.fixture
def front(rendered: Rendered, tmp_path: Path) -> Iterator[Front]:
    if not shutil.which("nginx"):
        pytest.skip("nginx is not installed")
    with contextlib.closing(Front(rendered, tmp_path)) as found:
        yield found


def test_a_front_shows_a_program_to_who_has_the_password(front: Front) -> None:
    assert front.ask("/kafka", front.password) == (200, b'kafka_told{path="/metrics",password="False"} 1\n')


@pytest.mark.parametrize(
    ("path", "password", "method", "status"),
    [
        ("/kafka", None, "GET", 401),
        ("/kafka", "guessed", "GET", 401),
        ("/kafka", "", "GET", 401),
        ("/metrics", None, "GET", 404),
        ("/", None, "GET", 404),
        ("/kafka/../node", None, "GET", 401),
        ("/kafka", "right", "POST", 403),
        ("/kafka", "right", "PUT", 403),
        ("/kafka/", "right", "GET", 404),
    ],
)
def test_a_front_shows_a_stranger_nothing(
    front: Front, path: str, password: str | None, method: str, status: int
) -> None:
    given = front.password if password == "right" else password
    found, body = front.ask(path, given, method)
    assert found == status
    assert b"told" not in body
    assert b"nginx/" not in body  # no version


def test_a_front_speaks_only_tls(front: Front) -> None:
    front.ask("/")
    connection = http.client.HTTPConnection("127.0.0.1", front.port, timeout=PORT_SECONDS)
    connection.request("GET", "/kafka", headers=authorization(front.password))
    assert connection.getresponse().status == 400
    connection.close()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # that is what it is about
def test_a_front_refuses_old_tls(front: Front) -> None:
    front.ask("/")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.options |= ssl.OP_NO_TLSv1_2 | ssl.OP_NO_TLSv1_3
    with (
        socket.create_connection(("127.0.0.1", front.port), PORT_SECONDS) as plain,
        pytest.raises(ssl.SSLError),
        context.wrap_socket(plain),
    ):
        pass


def test_a_stranger_who_asks_without_end_is_slowed_down(front: Front) -> None:
    assert set(front.ask_often("/kafka", "guessed", 120)) == {401, 429}


def test_a_host_of_another_network_is_refused_with_the_password(rendered: Rendered, tmp_path: Path) -> None:
    if not shutil.which("nginx"):
        pytest.skip("nginx is not installed")
    with contextlib.closing(Front(rendered, tmp_path, "public-1")) as front:
        assert front.ask("/kafka", front.password)[0] == 403


def answered(url: str, user: str, password: str, authority: Path) -> Any:
    """What a page says in JSON; None while it does not answer."""
    token = base64.b64encode(f"{user}:{password}".encode()).decode()
    request = urllib.request.Request(url, headers={"Authorization": f"Basic {token}"})
    try:
        with urllib.request.urlopen(request, context=ssl.create_default_context(cafile=str(authority))) as answer:
            return json.load(answer)
    except urllib.error.HTTPError:
        raise
    except OSError:
        return None


def test_prometheus_reads_a_program_through_its_front(rendered: Rendered, front: Front, tmp_path: Path) -> None:
    """With the rendered files; only addresses and the pace are others."""
    if not shutil.which("prometheus"):
        pytest.skip("prometheus is not installed")
    port, files = free_port(), rendered.files("apps-1", "zads-prometheus")
    path = "/etc/zads/prometheus/load/prometheus.yml"
    config = yaml.safe_load(files[path])
    (job,) = (one for one in config["scrape_configs"] if one["job_name"] == "kafka")
    (target,) = (one for one in job["static_configs"] if one["labels"]["instance"] == "origin-1")
    target["targets"] = [f"127.0.0.1:{front.port}"]
    job |= {"static_configs": [target], "scrape_interval": "1s", "scrape_timeout": "1s"}
    job["tls_config"]["server_name"] = "origin-1"
    laid_out({**files, path: yaml.safe_dump({**config, "scrape_configs": [job], "alerting": {}})}, tmp_path)
    home = tmp_path / "etc/zads/prometheus"
    process = subprocess.Popen(
        ["prometheus", f"--config.file={home}/load/prometheus.yml", f"--web.config.file={home}/web.yml",
         f"--web.listen-address=127.0.0.1:{port}", f"--storage.tsdb.path={tmp_path}/data"],
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    pages, authority = f"https://127.0.0.1:{port}/api/v1", rendered.state / "secrets/monitoring/ca.crt"
    try:
        until, found = time.monotonic() + 3 * PORT_SECONDS, []
        while not found and time.monotonic() < until:
            time.sleep(0.2)
            password = rendered.passwords["zads.monitor"]
            answer = answered(f"{pages}/query?query=kafka_told", "zads.monitor", password, authority)
            found = answer["data"]["result"] if answer else []
        assert [one["metric"] for one in found] == [
            {
                "__name__": "kafka_told", "path": "/metrics", "password": "False",
                "job": "kafka", "instance": "origin-1", "site": "origin",
            }
        ]  # fmt: skip
        with pytest.raises(urllib.error.HTTPError, match="401"):
            answered(f"{pages}/query?query=up", "zads.monitor", "guessed", authority)
    finally:
        process.terminate()
        process.wait()


def test_without_a_group_of_workers_a_host_tells_of_no_worker() -> None:
    assert [one.path for one in monitoring.sources(["kafka", "all"])] == ["/node", "/kafka"]


def test_the_ports_of_a_hosts_workers_follow_each_other() -> None:
    found = monitoring.sources(["workers"], [("a", 1), ("a", 3), ("b", 2)], 9450)
    assert [(one.path, one.port) for one in found[1:]] == [
        ("/filter_worker/a/1", 9450),
        ("/filter_worker/a/3", 9451),
        ("/filter_worker/b/2", 9452),
    ]


def test_an_address_of_version_6_stands_in_brackets(plugin: Any) -> None:
    host = {"inventory_hostname": "h", "ansible_host": "2001:db8::1", "group_names": []}
    (job,) = plugin("filter/metrics.py").scrape_configs([host], {}, {}, 9440, {})
    assert job["static_configs"][0]["targets"] == ["[2001:db8::1]:9440"]


def test_what_has_not_answered_prometheus_is_named(plugin: Any) -> None:
    def target(health: str, error: str) -> dict[str, Any]:
        return {"labels": {"instance": "public-1", "job": "kafka"}, "health": health, "lastError": error}

    targets = [target("up", ""), target("down", "server returned HTTP status 401"), target("unknown", "")]
    assert plugin("filter/metrics.py").silent_targets({"data": {"activeTargets": targets}}) == [
        "public-1: kafka tells no metrics (server returned HTTP status 401)",
        "public-1: kafka tells no metrics (unknown)",
    ]


@pytest.mark.parametrize(("role", "prefix"), [("kafka", "kafka_"), ("zookeeper", "zookeeper_")])
def test_the_page_of_metrics_has_what_the_rules_of_an_agent_make(role: str, prefix: str) -> None:
    rules = yaml.safe_load((ROOT / f"roles/{role}/files/metrics.yml").read_text())["rules"]
    made = [re.compile(re.sub(r"\$\d", "[a-z]+", rule["name"])) for rule in rules]
    documented = set(re.findall(rf"`({prefix}[a-z_]+)`", (ROOT / "docs/metrics.md").read_text()))
    assert [name for name in sorted(documented) if not any(one.fullmatch(name) for one in made)] == []
    assert [one.pattern for one in made if not any(one.fullmatch(name) for name in documented)] == []
