"""What people open after `make demo`, in a real browser: the Night Board, the report, and Prometheus."""

from __future__ import annotations

import datetime
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from browsing import DOCUMENTED, MADE_FROM, SCHEMES, SIZES, chromium, version_of_pages, window
from local_system import STATE, System, at_rest, client, drop, hosts_of, make_night
from zads import names
from zads.board import PORT
from zads.site.cluster import Cluster
from zads.sources import simulator

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(not hosts_of("boards"), reason="inventories/local has no Night Board"),
]
PROMETHEUS = 9441


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


def address(system: System, group: str, port: int) -> str:
    return f"https://{system.inventory.address(hosts_of(group)[0])}:{port}"


@pytest.fixture
def board(system: System) -> str:
    return address(system, "boards", PORT)


@pytest.fixture
def night(system: System) -> str:
    """A night with topics and no alerts. It is newer than all others, so the board shows it as soon as it has some."""
    known = [found[0] for topic in Cluster(client("admin-public")).topics() if (found := names.parse_topic(topic))]
    newest = datetime.datetime.strptime(max(known), "%Y%m%d").replace(tzinfo=datetime.UTC)
    found = f"{newest + datetime.timedelta(days=1):%Y%m%d}"
    make_night(found)
    return found


def deliver(system: System, night: str, visits: range) -> None:
    """Deliver some of the visits of a night, which no other delivery has."""
    seed = time.time_ns() % 2**31
    whole = list(simulator.simulate(night, visits.stop, 30, seed=seed, programme_mix={1: 1.0}))
    for number, (_, packets) in list(enumerate(whole))[visits.start :]:
        drop(system, f"{night}-{seed}-{number}", {Path(name).name: data for name, data in packets})


@pytest.mark.skipif("ZADS_DRILLS" not in os.environ, reason="make drill takes the documentation's pictures")
def test_the_documentations_pictures_are_taken(system: System, browser: Any, board: str, night: str) -> None:
    """Of a simulated night on the whole system."""
    deliver(system, night, range(24))
    at_rest(system)
    DOCUMENTED.mkdir(exist_ok=True)
    for name, size, scheme in (
        ("night", "desktop", "light"),
        ("night-dark", "desktop", "dark"),
        ("night-phone", "phone", "light"),
    ):
        with window(browser, size, scheme) as shown:
            shown.page.goto(board, wait_until="load")
            shown.page.wait_for_selector("[aria-label='Map of the sky with 24 visits']", timeout=90_000)
            shown.page.wait_for_selector("text=All is well", timeout=90_000)
            shown.photograph(name)
            if name == "night":
                shown.page.locator("a[href^='/alert/']").first.click()
                shown.page.wait_for_load_state("load")
                shown.photograph("alert")
    MADE_FROM.write_text(f"{version_of_pages()}\n")


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("size", SIZES)
def test_the_boards_pages_fit_are_quick_and_have_no_serious_fault(
    system: System, browser: Any, board: str, size: str, scheme: str
) -> None:
    with window(browser, size, scheme) as shown:
        shown.page.goto(board)
        alert = shown.page.locator("a[href^='/alert/']").first.get_attribute("href")
        for name, path in {"night": "/", "alert": alert, "nights": "/nights", "sign-in": "/sign-in"}.items():
            shown.check(board + path, f"demo-{name}-{size}-{scheme}")
        assert shown.complaints == []


def test_an_open_page_of_the_board_is_live_and_survives_its_restart(
    system: System, browser: Any, board: str, night: str
) -> None:
    deliver(system, night, range(1))
    with window(browser) as shown:
        page = shown.page
        page.goto(board, wait_until="load")
        page.wait_for_selector("[aria-label='Map of the sky with 1 visits']", timeout=90_000)
        page.wait_for_selector("[data-state]:text-is('Live')")
        page.evaluate("window.mine = true")
        deliver(system, night, range(1, 2))
        page.wait_for_selector("[aria-label='Map of the sky with 2 visits']", timeout=60_000)
        assert page.evaluate("window.mine") is True, "the page was not loaded again"
        system.on("apps-1", "systemctl restart zads-board")
        page.wait_for_selector("[data-state]:has-text('Not live')", timeout=30_000)
        page.wait_for_selector("[data-state]:text-is('Live')", timeout=120_000)
        assert page.evaluate("window.mine") is True, "the page was not loaded again"
        gone = re.compile("ERR_CONNECTION|ERR_INCOMPLETE")
        assert [one for one in shown.complaints if not gone.search(one)] == []


def test_the_report_of_the_demo_is_readable(system: System, browser: Any) -> None:
    for size in SIZES:
        with window(browser, size) as shown:
            shown.page.goto((STATE / "reports/demo.html").as_uri(), wait_until="load")
            shown.picture(f"demo-report-{size}")
            assert shown.too_wide() <= 0
            assert shown.serious() == []
            assert shown.complaints == []


def test_prometheus_opens_for_who_has_the_password(system: System, browser: Any) -> None:
    password = yaml.safe_load((STATE / "secrets/passwords.yml").read_text())["zads.monitor"]
    prometheus = address(system, "monitors", PROMETHEUS)
    with window(browser, login={"username": "zads.monitor", "password": password}) as shown:
        for page, expected in (("targets", "kafka (6/6 up)"), ("alerts", "MirrorIsSilent")):
            shown.page.goto(f"{prometheus}/classic/{page}", wait_until="load")
            shown.picture(f"demo-prometheus-{page}")
            assert expected in shown.page.inner_text("body")
