"""The Night Board of the local system, over TLS: it shows the night that was played, and to each what is theirs."""

from __future__ import annotations

import re
import ssl
import urllib.error
import urllib.request
from urllib.parse import urlencode

import pytest
import yaml

from local_system import STATE, System, await_that, hosts_of
from zads.board import PORT
from zads.inventory import Inventory, repository

pytestmark = pytest.mark.skipif(not hosts_of("boards"), reason="inventories/local has no Night Board")


class Browser:
    """Sends requests with the cookies that it was given, and trusts the board's own authority alone."""

    def __init__(self) -> None:
        inventory = Inventory.load("local", repository())
        self.address = f"https://{inventory.address(inventory.group('boards')[0])}:{PORT}"
        context = ssl.create_default_context(cafile=str(STATE / "secrets/boards/ca.crt"))
        handlers = urllib.request.HTTPSHandler(context=context), urllib.request.HTTPCookieProcessor()
        self._opener = urllib.request.build_opener(*handlers)

    def get(self, path: str, form: dict[str, str] | None = None) -> tuple[int, str]:
        request = urllib.request.Request(self.address + path, urlencode(form).encode() if form else None)
        request.add_header("Origin", self.address)
        try:
            with self._opener.open(request, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


def test_the_board_shows_the_night_and_that_all_is_well(system: System) -> None:
    browser = Browser()
    await_that("the board says that all is well", lambda: "All is well." in browser.get("/")[1], 120)
    text = browser.get("/")[1]
    assert "Night of <span" in text
    for broker in ("origin-1", "origin-2", "origin-3", "public-1", "public-2", "public-3"):
        assert broker in text
    assert '<th scope="row">asteroid</th>' in text
    assert "known_variable" not in text


def test_a_passed_alert_has_its_page_with_pictures(system: System) -> None:
    browser = Browser()
    text = await_that("filters have passed alerts", lambda: re.search(r"/alert/[0-9]+", browser.get("/")[1]), 60)[0]
    status, page = browser.get(text)
    assert status == 200
    assert page.count("<figure><img") == 3
    assert "at the public site" in page


def test_a_user_signs_in_with_the_password_of_their_kit_and_nobody_else_does(system: System) -> None:
    browser = Browser()
    passwords = yaml.safe_load((STATE / "secrets/passwords.yml").read_text())
    assert browser.get("/sign-in", {"user": "alice", "password": "wrong"})[0] == 403
    assert browser.get("/sign-in", {"user": "zads.board", "password": passwords["zads.board"]})[0] == 403
    assert browser.get("/sign-in", {"user": "partner", "password": passwords["partner"]})[0] == 403, "of the origin"
    status, page = browser.get("/sign-in", {"user": "alice", "password": passwords["alice"]})
    assert status == 200
    assert "for alice" in page
    assert '<th scope="row">known_variable</th>' in page


def test_the_boards_unit_restarts_it_and_it_shows_the_night_again(system: System) -> None:
    system.on("apps-1", "systemctl restart zads-board.service")
    await_that("the board is back", lambda: '<th scope="row">asteroid</th>' in _text(), 120)


def _text() -> str:
    try:
        return Browser().get("/")[1]
    except OSError:
        return ""
