"""The Night Board's pages: who gets which, what browsers are told, and what of a stranger's words is harmless."""

from __future__ import annotations

import asyncio
import json
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest

import boarding
from boarding import Answer, Record, ask
from test_board import DATA
from zads.alert_card import AlertCard
from zads.board import app, live, parts, pictures, service, settings, view
from zads.board.health import Broker, Health, Mirror, Site
from zads.board.passwords import Answer as Said
from zads.board.pictures import Drawn, Pictures
from zads.board.sessions import COOKIE, Sessions
from zads.board.stream import Stream
from zads.errors import ZadsError

CONF = {"bootstrap.servers": "127.0.0.1:1"}
FORM = {"origin": "https://board.example.org", "content-type": "application/x-www-form-urlencoded"}
WELL = Health(
    {name: Site(name, True, (Broker(1, f"{name}-1", True),)) for name in ("origin", "public")}, Mirror(True), (), 1.0
)


class Asked:
    """Stands for the public site, which knows one password."""

    def check(self, user: str, password: str, _: str) -> Said:
        if password == "no answer":
            return Said.UNKNOWN
        return Said.RIGHT if password == f"{user}'s own" else Said.WRONG


@dataclass
class Shown:
    """A board of a small night of programme 1 and one of programme 2."""

    board: app.Board
    sessions: Sessions
    records: dict[int, list[Record]]
    file: Path

    def get(self, path: str, user: str = "") -> Answer:
        cookie = {"cookie": f"{COOKIE}={self.sessions.begin(user)}"} if user else {}
        return ask(self.board.application, path, headers=cookie)

    def candid(self, programme: int) -> int:
        from zads.board.alerts import alert_of

        return alert_of(self.records[programme][0]).candid


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shown:
    stream = Stream(CONF, lambda: {1, 2})
    stream.trouble = ""
    found = {programme: boarding.records(programme=programme, moment=time.time()) for programme in (1, 2)}
    by_place = {}
    for records in found.values():
        for record in records:
            stream._take(record)
            by_place[record.topic_name, record.number, record.place] = record.data
    for offset, (programme, name) in enumerate([(1, "fast"), (2, "fast"), (1, "mine")]):
        stream._take(boarding.passed(found[programme][0], name, offset))
    monkeypatch.setattr(pictures, "one_record", lambda _conf, *place: by_place.get(place[:3]))
    file = tmp_path / "settings.json"
    file.write_text(json.dumps({"policy": DATA, "brokers": {"origin": {"1": "origin-1"}}}))
    sessions = Sessions("k" * 30)
    asked: Any = Asked()
    board = app.Board(
        stream, lambda: WELL, Pictures(CONF), sessions, asked, settings.SettingsFile(file), tmp_path / "audits", True
    )
    return Shown(board, sessions, found, file)


# Who gets which page


def test_the_first_page_shows_the_night_of_the_programmes_that_one_may_see(shown: Shown) -> None:
    everybody, partner = shown.get("/").text, shown.get("/", "partner").text
    for text, programme in ((everybody, 1), (partner, 2)):
        assert "Night of <span" in text
        assert f"Shown: programme{'s 1, 2' if programme == 2 else ' 1'} of the public site" in text
    assert (everybody.count("<use href") - 3, partner.count("<use href") - 3) == (3, 6)
    assert f"/alert/{shown.candid(1)}" in everybody
    assert f"/alert/{shown.candid(2)}" not in everybody
    assert f"/alert/{shown.candid(2)}" in partner


def test_an_alert_has_a_page_with_its_pictures_and_its_way(shown: Shown) -> None:
    answer = shown.get(f"/alert/{shown.candid(1)}")
    assert answer.status == 200
    assert answer.text.count("<figure><img") == 3
    assert "light curve of ZTF" in answer.text
    for hop in ("exposed", "sent by the producer", "at the public site", "passed by fast"):
        assert f'<th scope="row">{hop}</th>' in answer.text
    assert "passed by mine" not in answer.text
    assert "passed by mine" in shown.get(f"/alert/{shown.candid(1)}", "alice").text
    assert re.search(r"<code>[0-9a-f]{64}</code>", answer.text)


def test_an_alert_that_one_may_not_see_is_as_one_that_does_not_exist(shown: Shown) -> None:
    hidden, missing = shown.get(f"/alert/{shown.candid(2)}"), shown.get("/alert/123")
    assert hidden.status == missing.status == 404
    assert hidden == missing
    assert shown.get(f"/alert/{shown.candid(2)}", "partner").status == 200


def test_a_search_finds_what_one_may_see_and_nothing_else(shown: Shown) -> None:
    for programme, user, found in ((1, "", True), (2, "", False), (2, "partner", True)):
        candid = shown.candid(programme)
        by_number = shown.get(f"/search?q={candid}", user)
        assert (by_number.status, by_number.headers.get("location")) == (
            (303, f"/alert/{candid}") if found else (200, None)
        )
        name = shown.records[programme][0].name.decode()
        by_name = shown.get(f"/search?q={name}", user)
        assert (f'href="/alert/{candid}"' in by_name.text) is found
    hidden = shown.get(f"/search?q={shown.records[2][0].name.decode()}").text
    other = shown.get("/search?q=ZTF18nothing").text
    assert hidden.replace(shown.records[2][0].name.decode(), "NAME") == other.replace("ZTF18nothing", "NAME")


def test_a_user_who_leaves_the_inventory_sees_what_everybody_does_at_once(shown: Shown) -> None:
    cookie = {"cookie": f"{COOKIE}={shown.sessions.begin('partner')}"}
    path = f"/alert/{shown.candid(2)}"
    assert ask(shown.board.application, path, headers=cookie).status == 200
    left = {**DATA, "users": [one for one in DATA["users"] if one["name"] != "partner"]}
    shown.file.write_text(json.dumps({"policy": left}))
    assert ask(shown.board.application, path, headers=cookie).status == 404


def test_settings_that_cannot_be_used_leave_those_before_in_force(shown: Shown, tmp_path: Path) -> None:
    shown.file.write_text("{")
    assert shown.get("/").status == 200
    with pytest.raises(ZadsError, match="holds no settings of the board"):
        settings.SettingsFile(shown.file)
    with pytest.raises(ZadsError, match="holds no settings of the board"):
        settings.SettingsFile(tmp_path / "missing.json")


def test_without_settings_nobody_signs_in_and_only_the_public_programme_is_shown(shown: Shown) -> None:
    stream = shown.board._stream
    stream.filters = frozenset({"mine"})
    asked: Any = Asked()
    board = app.Board(stream, lambda: WELL, Pictures(CONF), shown.sessions, asked, None, None, False)
    page = ask(board.application, "/", headers={"cookie": f"{COOKIE}={shown.sessions.begin('partner')}"}).text
    assert "programme 1 of the public site" in page
    assert "Sign in" not in page
    assert "mine" in page
    body = urlencode({"user": "partner", "password": "partner's own"}).encode()
    assert ask(board.application, "/sign-in", method="POST", headers=FORM, body=body).status == 404
    assert ask(board.application, "/sign-in").status == 404


# Signing in


def sign_in(shown: Shown, user: str, password: str, **headers: str) -> Answer:
    body = urlencode({"user": user, "password": password}).encode()
    return ask(shown.board.application, "/sign-in", method="POST", headers={**FORM, **headers}, body=body)


def test_a_session_begins_with_the_right_password_in_a_cookie_that_only_this_host_gets(shown: Shown) -> None:
    answer = sign_in(shown, "partner", "partner's own")
    assert (answer.status, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-")
    for word in ("HttpOnly", "Secure", "SameSite=strict", "Path=/", "Max-Age="):
        assert word in cookie
    assert "Domain" not in cookie
    value = cookie.partition("=")[2].partition(";")[0]
    assert shown.sessions.user(value) == "partner"
    out = ask(shown.board.application, "/sign-out", method="POST", headers={**FORM, "cookie": f"{COOKIE}={value}"})
    assert out.status == 303
    assert shown.sessions.user(value) == ""


@pytest.mark.parametrize("user", ["partner", "nobody", "inside"])
def test_a_wrong_password_and_a_name_that_is_not_known_have_the_same_answer(shown: Shown, user: str) -> None:
    password = "guessed" if user == "partner" else f"{user}'s own"
    answer = sign_in(shown, user, password)
    assert answer.status == 403
    assert "set-cookie" not in answer.headers
    assert "The name or the password is wrong." in answer.text
    assert password not in answer.text


def test_while_the_site_does_not_answer_nobody_signs_in_and_is_told_so(shown: Shown) -> None:
    answer = sign_in(shown, "partner", "no answer")
    assert answer.status == 503
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "origin", ["https://other.example.org", "null", "", "https://board.example.org.other.example.org"]
)
@pytest.mark.parametrize("path", ["/sign-in", "/sign-out"])
def test_a_form_of_another_site_is_refused(shown: Shown, origin: str, path: str) -> None:
    body = urlencode({"user": "partner", "password": "partner's own"}).encode()
    headers = {**FORM, "origin": origin} if origin else {}
    answer = ask(shown.board.application, path, method="POST", headers=headers, body=body)
    assert answer.status == 403
    assert "set-cookie" not in answer.headers


def test_a_form_that_is_too_large_or_none_is_refused(shown: Shown) -> None:
    for body, status in ((b"user=" + b"x" * 5000, 413), (b"\xff\xfe", 400), (b"&".join([b"a=1"] * 9), 400)):
        answer = ask(shown.board.application, "/sign-in", method="POST", headers=FORM, body=body)
        assert answer.status == status


# What browsers are told


@pytest.mark.parametrize("path", ["/", "/alert/1", "/search?q=x", "/nights", "/sign-in", "/static/board.js", "/none"])
def test_every_answer_forbids_what_the_board_does_not_need(shown: Shown, path: str) -> None:
    headers = shown.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    for name in ("x-content-type-options", "referrer-policy", "strict-transport-security"):
        assert headers[name]
    if not path.startswith("/static"):
        assert headers["cache-control"] == "no-store"


def test_pages_have_nothing_inline_and_load_nothing_from_elsewhere(shown: Shown) -> None:
    pages = [shown.get(path).text for path in ("/", f"/alert/{shown.candid(1)}", "/nights", "/sign-in", "/search?q=x")]
    for text in pages:
        assert not re.search(r"\sstyle=|<style|\son\w+=|<script(?! src=\"/static/)", text)
        loaded = re.findall(r'(?:src|href|action)="([^"]*)"', text)
        assert all(one.startswith(("/", "#", "data:image/")) for one in loaded), loaded


@pytest.mark.parametrize("word", ['"><script>alert(1)</script>', "{{ 7 * 7 }}", "\x1b[31m", "\u202e" * 64, "ZTF" * 200])
def test_a_strangers_words_are_shown_as_words(shown: Shown, word: str) -> None:
    text = shown.get(f"/search?q={quote(word)}").text
    assert "<script>alert" not in text
    assert "49" not in text
    assert len(text) < 6000


def test_annotations_of_a_filter_are_shown_as_words(shown: Shown) -> None:
    shown.board._stream._take(boarding.passed(shown.records[1][1], "fast", 9, '{"a": "<script>x</script>"}'))
    assert "<script>x" not in shown.get("/").text
    assert "&lt;script&gt;x" in shown.get("/").text


@pytest.mark.parametrize("text", ["abc", "-1", "1.5", "9" * 30, "%00", "..%2f..", "٣"])
def test_an_address_that_is_no_candid_is_a_page_that_does_not_exist(shown: Shown, text: str) -> None:
    assert shown.get(f"/alert/{quote(text, safe='%')}").status == 404


@pytest.mark.parametrize("name", ["..%2fpages.py", "night.html", "style.css", ""])
def test_only_the_files_that_pages_load_are_served(shown: Shown, name: str) -> None:
    assert shown.get(f"/static/{name}").status == 404


def test_nothing_but_signing_in_and_out_takes_more_than_a_look(shown: Shown) -> None:
    for path in ("/", "/alert/1", "/search", "/nights", "/live", "/static/board.js"):
        for method in ("POST", "PUT", "DELETE"):
            assert ask(shown.board.application, path, method=method, headers=FORM).status == 404


def test_a_packet_that_has_expired_leaves_a_page_that_says_so(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "one_record", lambda *_: None)
    answer = shown.get(f"/alert/{shown.candid(1)}")
    assert answer.status == 200
    assert "it has expired" in answer.text
    assert "at the public site" in answer.text


def test_pictures_are_drawn_once(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    shown.get(f"/alert/{shown.candid(1)}")
    monkeypatch.setattr(AlertCard, "of", lambda *_: pytest.fail("drawn again"))
    assert shown.get(f"/alert/{shown.candid(1)}").status == 200


def test_too_many_who_want_pictures_are_asked_to_try_again(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shown.board._pictures, "_places", type("Full", (), {"acquire": lambda *_, **__: False})())
    assert "try again" in shown.get(f"/alert/{shown.candid(1)}").text
    assert Drawn(None).card is None


# Live


def events(shown: Shown, who: view.View, steps: int, monkeypatch: pytest.MonkeyPatch, seen: Any = None) -> list[bytes]:
    """The first events of an open page, without waiting between them."""
    monkeypatch.setattr(live, "TICK_SECONDS", 0.0)
    monkeypatch.setattr(parts, "PARTS", dict.fromkeys(parts.PARTS, 0.0))

    async def take() -> list[bytes]:
        found = []
        stream = shown.board.live.events("192.0.2.1", who, seen or (lambda: who))
        async for event in stream:
            found.append(event)
            if len(found) == steps:
                break
            shown.board._stream._take(boarding.passed(shown.records[1][len(found)], "fast", 100 + len(found)))
        await stream.aclose()
        return found

    return asyncio.run(take())


def test_an_open_page_gets_every_part_once_and_then_what_has_changed(
    shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    who = view.of(shown.board._settings.policy)
    assert who is not None
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)  # the line of arrivals moves with the clock
    first, second = (event.decode() for event in events(shown, who, 2, monkeypatch))
    assert set(json.loads(first.partition("data: ")[2])) == set(parts.PARTS)
    assert set(json.loads(second.partition("data: ")[2])) == {"passed"}
    assert first.endswith("\n\n")
    assert first.count("\n") == 3, "an event's data is one line"


def test_an_open_page_ends_when_its_reader_may_see_something_else(
    shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    who = view.View()
    assert events(shown, who, 5, monkeypatch, lambda: view.View("partner")) == [b"event: changed\ndata:\n\n"]


def test_open_pages_are_bounded_in_all_and_by_address_and_their_places_come_back() -> None:
    table: Any = None
    found = live.Live(table, most=3, most_by_address=2)
    found._open.update({"a": 2})
    assert (found.has_place("a"), found.has_place("b")) == (False, True)
    found._open.update({"b": 1})
    assert not found.has_place("c")


def test_an_open_page_gives_its_place_back(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    events(shown, view.View(), 1, monkeypatch)
    assert shown.board.live._open.total() == 0


def test_when_there_is_no_place_the_page_is_told_to_come_again(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shown.board.live, "_most", 0)
    answer = shown.get("/live")
    assert (answer.status, answer.headers["retry-after"]) == (503, "30")


def test_all_who_see_the_same_share_what_is_rendered(shown: Shown) -> None:
    assert shown.board._parts.of(view.View())["sky"] is shown.board._parts.of(view.View())["sky"]
    for number in range(100):
        shown.board._parts.of(view.View(f"user{number}"))
    assert len(shown.board._parts._kept) == 64


# Where it is served


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "board.example.org"])
def test_without_a_certificate_the_board_is_served_to_this_computer_alone(host: str) -> None:
    with pytest.raises(ZadsError, match="without a certificate"):
        service.Listener(host, 9480).check()
    service.Listener("127.0.0.1", 9480).check()
    service.Listener(host, 9480, Path("a"), Path("b")).check()
    with pytest.raises(ZadsError, match="needs its key"):
        service.Listener("127.0.0.1", 9480, Path("a")).check()


def test_a_short_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "short").write_text("secret")
    (tmp_path / "key").write_text("k" * 32 + "\n")
    with pytest.raises(ZadsError, match="too short"):
        service.read_key(tmp_path / "short")
    assert service.read_key(tmp_path / "key") == "k" * 32
    assert service.read_key(None) != service.read_key(None)
