"""The Night Board on a real broker, by its own account, seen with a real browser.

It takes minutes, so `make drill` runs it and `make test` does not.
"""

from __future__ import annotations

import json
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaException

from bench.broker import Broker, await_true, running
from browsing import SCHEMES, SIZES, Window, chromium, window
from modules import runner
from test_people_on_a_broker import CLIENTS, People, user
from zads import kafka, names
from zads.packet import Packet
from zads.site.certificates import Pair
from zads.sources import simulator

NIGHT = "20181129"
FILTERS = [
    {"name": "fast_riser", "owner": "alice", "group": "transients", "state": "active", "programmes": [1]},
    {"name": "asteroid", "owner": "alice", "group": "transients", "state": "active", "programmes": [1]},
    {"name": "kept", "owner": "alice", "group": "transients", "state": "active", "programmes": [1, 2]},
]
TOPICS = {name: names.filter_topic(str(name)) for name in ("fast_riser", "asteroid", "kept")}


class Inhabitants(People):
    """The accounts of a public site that has programmes 1 and 2, filters and a board."""

    def policy(self, *users: dict[str, Any]) -> dict[str, Any]:
        return {
            **super().policy(*users),
            "programmes": {1: {"sites": ["origin", "public"]}, 2: {"sites": ["origin", "public"]}},
            "filters": FILTERS,
            "filter_groups": {"transients": {"workers": 1}},
            "programs": [names.BOARD],
            "board": {"filters": ["fast_riser", "asteroid"]},
        }


class Deployed:
    """A site with its accounts, a board that runs as a process, and a night that somebody goes on with."""

    def __init__(self, broker: Broker, people: Inhabitants, directory: Path) -> None:
        self.broker, self.people, self.directory = broker, people, directory
        self.users = [user("alice", programmes=[]), user("partner", programmes=[1, 2])]
        self.people.become(*self.users)
        self.visits = list(simulator.simulate(NIGHT, 12, 8, programme_mix={1: 1.0}))
        self.hidden = list(simulator.simulate(NIGHT, 14, 3, programme_mix={2: 1.0}))[-2:]
        self.producer = kafka.producer(broker.conf)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        authority = Pair.make(directory / "ca", "test")
        Pair.make(directory / "https", "board", names=["127.0.0.1"], issuer=authority).save()
        authority.save()
        self.process: subprocess.Popen[bytes] | None = None
        self.settings()

    @property
    def address(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def settings(self) -> None:
        whole = {"policy": self.people.policy(*self.users), "brokers": {"public": {"1": "public-1"}}}
        (self.directory / "settings.json").write_text(json.dumps(whole))

    def client(self, name: str, conf: dict[str, str]) -> str:
        path = self.directory / f"{name}.properties"
        path.write_text("".join(f"{key}={value}\n" for key, value in conf.items()))
        return str(path)

    def start(self) -> None:
        """Start the board, and wait until it answers."""
        conf = self.people.conf(names.BOARD, 9095)
        command = [sys.executable, "-m", "zads.cli", "board", "--port", str(self.port)]
        command += ["--public", self.client("public", conf), "--origin", self.client("origin", self.broker.conf)]
        for option, file in (("settings", "settings.json"), ("certificate", "https.crt"), ("key", "https.key")):
            command += [f"--{option}", str(self.directory / file)]
        (self.directory / "session").write_text("s" * 40)
        command += ["--session-key", str(self.directory / "session"), "--audits", str(self.directory / "audits")]
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        await_true(self.answers, "the board to answer", 90, self.log)

    def stop(self) -> int:
        """Stop the board as its service does. Returns its exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def log(self) -> str:
        return (self.directory / "log").read_text(errors="replace")[-4000:]

    def get(self, path: str) -> tuple[int, str]:
        context = ssl.create_default_context(cafile=str(self.directory / "ca.crt"))
        try:
            with urllib.request.urlopen(f"{self.address}{path}", timeout=10, context=context) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def answers(self) -> bool:
        try:
            return self.get("/sign-in")[0] == 200
        except OSError:
            return False

    def shows(self, word: str, path: str = "/") -> bool:
        return word in self.get(path)[1]

    def publish(self, visit: list[tuple[str, bytes]]) -> list[Packet]:
        """Publish a visit, and let filters pass its first alert."""
        found = [Packet.trusted(data) for _, data in visit]
        for packet in found:
            self._send(packet.topic, packet, [])
        for name in ("fast_riser", "asteroid") if found[0].programid == 1 else ("kept",):
            annotations = json.dumps({"rise_mag_per_day": 0.31}).encode()
            more = [(names.HEADER_FILTER, name.encode()), (names.HEADER_ANNOTATIONS, annotations)]
            self._send(TOPICS[name], found[0], more)
        assert self.producer.flush(30) == 0
        return found

    def _send(self, topic: str, packet: Packet, more: list[tuple[str, bytes]]) -> None:
        headers = [
            (names.HEADER_CANDID, str(packet.candid).encode()),
            (names.HEADER_VISIT, packet.visit.encode()),
            (names.HEADER_PRODUCED, f"{time.time():.6f}".encode()),
            *more,
        ]
        self.producer.produce(topic, packet.data, key=packet.key, headers=headers)

    def count(self, passed: int) -> None:
        """Write a worker's counts of two filters."""
        for name in ("fast_riser", "asteroid"):
            row = {"seen": 96, "passed": passed, "capped": 3, "failed": 0}
            value = {"filter": name, "worker": "w", "state": "active", "circuit": "closed", "nights": {NIGHT: row}}
            self.producer.produce(names.FILTER_COUNTS_TOPIC, json.dumps(value).encode(), key=f"{name}/w".encode())
        assert self.producer.flush(30) == 0


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """A board on a night of ten visits, of which two more come later."""
    directory = tmp_path_factory.mktemp("board")
    with running(settings=CLIENTS) as broker:
        nights = [names.night_topic(NIGHT, programme) for programme in (1, 2)]
        broker.create(*nights, partitions=4, message_timestamp_type="LogAppendTime")
        broker.create(*TOPICS.values(), message_timestamp_type="LogAppendTime")
        broker.create(names.FILTER_COUNTS_TOPIC, cleanup_policy="compact")
        people = Inhabitants(broker, runner(broker.conf, directory), str(directory / "accounts.json"))
        found = Deployed(broker, people, directory)
        audits = directory / "audits"
        audits.mkdir()
        topic = f"ztf_20181128_programid{1}"
        side = {"topics": {topic: {"records": 96}}, "filters": {}}
        (audits / "20181128.json").write_text(json.dumps({"agree": True, "origin": side, "public": side}))
        for _, visit in found.visits[:10]:
            found.publish(visit)
        for _, visit in found.hidden:
            found.publish(visit)
        found.count(10)
        found.start()
        await_true(lambda: found.shows("<dd>10</dd><dt>visits"), "all visits to be shown", 60, found.log)
        await_true(lambda: found.shows("All is well"), "the sites to be looked at", 60, found.log)
        yield found
        found.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


def candid(visit: tuple[str, list[tuple[str, bytes]]]) -> int:
    return Packet.trusted(visit[1][0][1]).candid


# Its account


def test_the_boards_account_reads_and_can_write_nothing(deployed: Deployed) -> None:
    conf = deployed.people.conf(names.BOARD, 9095)
    for topic in (names.night_topic(NIGHT, 1), TOPICS["asteroid"], names.FILTER_COUNTS_TOPIC):
        refused: list[Any] = []
        producer = kafka.producer(conf, **{"delivery.timeout.ms": 10_000, "enable.idempotence": False})
        producer.produce(topic, b"x", on_delivery=lambda error, _, to=refused: to.append(error))
        producer.flush(15)
        assert "authorization" in refused[0].str().lower(), topic
    with pytest.raises(KafkaException):
        kafka.consumer(conf, names.BOARD).get_watermark_offsets(_place(names.REJECTED_TOPIC), timeout=5)


def _place(topic: str) -> Any:
    from confluent_kafka import TopicPartition

    return TopicPartition(topic, 0)


# What it shows


def test_every_part_of_the_night_is_there(deployed: Deployed) -> None:
    text = deployed.get("/")[1]
    assert "Night of <span" in text
    assert "2018-11-29" in text
    for part in ("median way to the public site", "Map of the sky with 10 visits", "public-1", "transients"):
        assert part in text
    assert '<th scope="row">fast_riser</th>' in text
    assert f"/alert/{candid(deployed.visits[9])}" in text


def test_an_alert_is_read_from_the_site_and_shown(deployed: Deployed) -> None:
    status, text = deployed.get(f"/alert/{candid(deployed.visits[3])}")
    assert status == 200
    assert text.count("<figure><img") == 3
    assert "passed by fast_riser" in text


def test_an_alert_of_another_programme_does_not_exist_for_everybody(deployed: Deployed) -> None:
    await_true(lambda: deployed.get("/alert/1")[0] == 404, "an answer")
    assert deployed.get(f"/alert/{candid(deployed.hidden[0])}") == deployed.get("/alert/1")


# In a browser


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("size", SIZES)
def test_pages_fit_are_quick_and_have_no_serious_fault(
    deployed: Deployed, browser: Any, size: str, scheme: str
) -> None:
    paths = {"night": "/", "alert": f"/alert/{candid(deployed.visits[2])}", "nights": "/nights", "sign-in": "/sign-in"}
    with window(browser, size, scheme) as shown:
        for name, path in paths.items():
            shown.check(deployed.address + path, f"board-{name}-{size}-{scheme}")
        assert shown.complaints == []


def test_people_can_go_everywhere_by_keyboard(deployed: Deployed, browser: Any) -> None:
    with window(browser) as shown:
        shown.page.goto(deployed.address, wait_until="load")
        shown.page.keyboard.press("Tab")
        assert focused(shown) == "To the contents"
        reached = set()
        for _ in range(60):
            shown.page.keyboard.press("Tab")
            reached.add(focused(shown))
        assert {"Nights", "Find", "Sign in", "Pause"} <= reached
        assert any(word.startswith("ZTF") for word in reached)


def focused(shown: Window) -> str:
    return str(shown.page.evaluate("document.activeElement.textContent.trim()"))


def test_who_signs_in_sees_their_programmes_until_they_sign_out(deployed: Deployed, browser: Any) -> None:
    hidden = f"{deployed.address}/alert/{candid(deployed.hidden[0])}"
    with window(browser) as shown:
        page = shown.page
        page.goto(f"{deployed.address}/sign-in")
        for password in ("wrong", "password-of-partner"):
            page.fill("#user", "partner")
            page.fill("#password", password)
            page.click(".sign-in button")
            page.wait_for_load_state("load")
            if password == "wrong":
                assert "The name or the password is wrong." in page.inner_text("main")
        assert "programmes 1, 2" in page.inner_text("footer")
        assert page.goto(hidden).status == 200
        page.click("text=Sign out")
        page.wait_for_load_state("load")
        assert "programme 1 of" in page.inner_text("footer")
        assert page.goto(hidden).status == 404


def test_an_open_page_shows_what_comes_without_being_loaded_again(deployed: Deployed, browser: Any) -> None:
    with window(browser) as shown:
        page = shown.page
        page.goto(deployed.address, wait_until="load")
        page.evaluate("window.mine = true")
        link = page.locator("a[href^='/alert/']").first
        link.focus()
        [packet, *_] = deployed.publish(deployed.visits[10][1])
        page.wait_for_selector(f"a[href='/alert/{packet.candid}']", timeout=30_000)
        page.wait_for_selector("[aria-label='Map of the sky with 11 visits']", timeout=30_000)
        assert page.evaluate("window.mine") is True
        assert focused(shown).startswith("ZTF"), "the focus stays where it was"
        assert shown.complaints == []
        page.click("[data-pause]")
        assert page.inner_text("[data-state]") == "Paused"


def test_an_open_page_survives_a_restart_of_the_board(deployed: Deployed, browser: Any) -> None:
    with window(browser) as shown:
        page = shown.page
        page.goto(deployed.address, wait_until="load")
        page.wait_for_selector("[data-state]:text-is('Live')")
        assert deployed.stop() == 0, deployed.log()
        page.wait_for_selector("[data-state]:has-text('Not live')", timeout=15_000)
        deployed.start()
        [packet, *_] = deployed.publish(deployed.visits[11][1])
        page.wait_for_selector(f"a[href='/alert/{packet.candid}']", timeout=60_000)
        assert page.inner_text("[data-state]") == "Live"
        assert [one for one in shown.complaints if "ERR_CONNECTION" not in one and "ERR_INCOMPLETE" not in one] == []


def test_while_the_site_is_away_the_board_says_so_and_comes_back(deployed: Deployed, browser: Any) -> None:
    container = deployed.broker.container.get_wrapped_container()
    with window(browser) as shown:
        page = shown.page
        page.goto(deployed.address, wait_until="load")
        container.pause()
        try:
            page.wait_for_selector("text=public does not answer", timeout=90_000)
            shown.picture("board-ill-desktop-light")
            assert deployed.get("/")[0] == 200
        finally:
            container.unpause()
        page.wait_for_selector("text=All is well", timeout=90_000)
