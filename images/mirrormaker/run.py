"""Run MirrorMaker until a signal stops it, or until it no longer works.

1. If there are certificates beside the properties, make the key store of the internal REST server from them, since
   Connect's web server is the one part of Kafka that does not read PEM. The store is only in memory, and its password
   is new in each run.
2. Start Java, and pass every signal on to it.
3. Check its health every CHECK_SECONDS. If it is unhealthy for PATIENCE_SECONDS, or a task has failed for good, end it
   and exit with status 1, so that the service manager restarts the container. Delivery is exactly once, so a restart
   takes seconds and loses or doubles nothing.
"""

from __future__ import annotations

import datetime
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

import health

ZSTD = "/opt/kafka/native/libzstd-jni.so"  # the compressor; made by the Dockerfile
#: In-memory file system of the container.
MEMORY = Path("/tmp")  # noqa: S108
#: The only site that the process writes to. It runs near that site.
TARGET = "public"
CHECK_SECONDS = 5
#: Longer than the wait for a dead predecessor's transaction.
PATIENCE_SECONDS = 120
#: The same if a task has failed, which stops the stream: usually its transaction has timed out while a broker was down.
#: Two checks must see it. A process that has not worked for STEADY_SECONDS yet gets PATIENCE_SECONDS even then, since
#: it would fail again at once.
FAILED_SECONDS = 8
STEADY_SECONDS = 60
#: The same until it is healthy for the first time. On a busy machine Java starts slowly, and a restart would only begin
#: the slow start again.
START_SECONDS = 600
STOP_SECONDS = 40
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def say(text: str) -> None:
    """Print a line for the journal, in the form of all our programs (src/zads/logs.py)."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    event = {"level": "error", "event": text, "timestamp": now}
    print(f"<3>{json.dumps(event)}", flush=True)  # noqa: T201


def rest_settings(directory: Path) -> str:
    """Properties that put the internal REST server on mutual TLS; empty when `directory` has no `rest.crt`."""
    certificate, key, authority = (directory / f"rest{end}" for end in (".crt", ".key", "-ca.crt"))
    if not certificate.exists():
        return ""
    password = secrets.token_urlsafe(24)
    stores = {name: MEMORY / f"rest-{name}.p12" for name in ("keystore", "truststore")}
    for path in stores.values():
        path.unlink(missing_ok=True)
    pair = ["-in", certificate, "-inkey", key, "-certfile", authority, "-name", "rest"]
    make_store(["openssl", "pkcs12", "-export", "-out", stores["keystore"], "-passout", "env:STORE", *pair], password)
    # Java trusts only entries that its own tool has marked as trusted.
    trusted = ["-importcert", "-noprompt", "-alias", "authority", "-file", authority, "-storetype", "PKCS12"]
    make_store(["keytool", *trusted, "-keystore", stores["truststore"], "-storepass:env", "STORE"], password)
    settings = {"key.password": password, "client.auth": "required"}
    for name, path in stores.items():
        settings |= {f"{name}.location": str(path), f"{name}.password": password, f"{name}.type": "PKCS12"}
    return "".join(f"listeners.https.ssl.{name}={value}\n" for name, value in settings.items())


def make_store(command: list[str | Path], password: str) -> None:
    """Run a tool that writes a key store and takes its password from the environment variable STORE."""
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "STORE": password})


def command(properties: Path) -> list[str]:
    """MirrorMaker's command line."""
    return ["/opt/kafka/bin/connect-mirror-maker.sh", str(properties), "--clusters", TARGET]


def environment() -> dict[str, str]:
    """Java's options: the metrics agent, our logging, and an exit when memory runs out."""
    options = [
        f"-javaagent:/opt/kafka/metrics-agent.jar={health.METRICS}:/opt/mirrormaker/metrics.yml",
        f"-DZstdNativePath={ZSTD}",
        "-XX:+ExitOnOutOfMemoryError",
        os.environ.get("KAFKA_OPTS", ""),
    ]
    return {
        "KAFKA_LOG4J_OPTS": "-Dlog4j.configuration=file:/opt/mirrormaker/log4j.properties",
        **os.environ,
        "KAFKA_OPTS": " ".join(options).strip(),
    }


def supervise(java: subprocess.Popen[bytes]) -> int:
    """Wait until `java` ends, or end it if it is unhealthy. Returns its exit status, or 1 if it was unhealthy."""
    well, patience = time.monotonic(), START_SECONDS
    since: float | None = None
    while True:
        try:
            return java.wait(timeout=CHECK_SECONDS)
        except subprocess.TimeoutExpired:
            problems = health.check()
        now = time.monotonic()
        if not problems:
            well, patience = now, PATIENCE_SECONDS
            since = now if since is None else since
            continue
        steady = since is not None and well - since >= STEADY_SECONDS
        if steady and any(problem.for_good for problem in problems):
            patience = FAILED_SECONDS
        if now - well > patience:
            reasons = "; ".join(problem.text for problem in problems)
            say(f"not healthy for {now - well:.0f} s, ending it: {reasons}")
            end(java)
            return 1


def end(java: subprocess.Popen[bytes]) -> None:
    """Ask it to stop, and kill it after STOP_SECONDS."""
    java.terminate()
    try:
        java.wait(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        java.kill()
        java.wait()


def main(source: Path) -> int:
    """Run the mirror that the properties file `source` describes. Returns the exit status."""
    os.umask(0o077)
    properties = MEMORY / "mm2.properties"
    properties.write_text(source.read_text() + rest_settings(source.parent))
    java = subprocess.Popen(command(properties), env=environment())
    for number in STOP_SIGNALS:
        signal.signal(number, lambda received, _frame: java.send_signal(received))
    status = supervise(java)
    # After a stop by a signal Java exits with 128 + the signal's number, which is no error here.
    return 0 if status in {128 + number for number in STOP_SIGNALS} else status


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
