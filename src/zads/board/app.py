"""The board's addresses: what each page shows, and who may see it. Only signing in and out are not plain reading."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from zads import pages
from zads.board import audits, parts, protection, way
from zads.board import view as views
from zads.board.alerts import MOST
from zads.board.health import Health
from zads.board.live import Live
from zads.board.passwords import Answer, Passwords
from zads.board.pictures import Pictures
from zads.board.sessions import COOKIE, LIFE_SECONDS, Sessions
from zads.board.settings import SettingsFile
from zads.board.stream import Stream
from zads.board.view import View

#: The largest body of a request: the sign-in form.
MOST_BYTES = 4_096
#: An alert's number: what fits into 64 bits.
_CANDID = re.compile(r"[0-9]{1,19}")
_STATIC = {
    "board.css": ("text/css", ("style.css", "board/board.css")),
    "board.js": ("text/javascript", ("board/board.js",)),
    "icon.svg": ("image/svg+xml", ("board/icon.svg",)),
}
_SAID = {
    Answer.WRONG: "The name or the password is wrong.",
    Answer.TOO_MANY: "Too many attempts. Wait for five minutes.",
    Answer.UNKNOWN: "The public site does not answer now, so nobody can sign in.",
}
_STATUS = {Answer.WRONG: 403, Answer.TOO_MANY: 429, Answer.UNKNOWN: 503}
_NOT_FOUND = "No such alert is known here."


class Board:
    """The board as an ASGI application: ``application``.

    ``settings`` is None for a board that runs by a user's kit: it shows the public programme and that user's filters,
    and nobody can sign in. ``audited``: the directory of audits.
    """

    def __init__(
        self,
        stream: Stream,
        health: Callable[[], Health],
        pictures: Pictures,
        sessions: Sessions,
        passwords: Passwords,
        settings: SettingsFile | None,
        audited: Path | None,
        tls: bool,
    ) -> None:
        self._stream, self._pictures, self._sessions, self._passwords = stream, pictures, sessions, passwords
        self._settings, self._audited = settings, audited
        self._pages = pages.environment()
        self._pages.filters.update(parts.FILTERS)
        self._pages.globals.update(parts.CONSTANTS)
        self._static = {name: _static(files) for name, (_, files) in _STATIC.items()}
        self._version = hashlib.sha256(b"".join(self._static.values())).hexdigest()[:12]
        found = parts.Parts(self._pages, stream, health)
        self._parts, self.live = found, Live(found)
        routes = [
            Route("/", self.night),
            Route("/live", self.events),
            Route("/alert/{candid}", self.alert),
            Route("/search", self.search),
            Route("/nights", self.nights),
            Route("/sign-in", self.form),
            Route("/sign-in", self.sign_in, methods=["POST"]),
            Route("/sign-out", self.sign_out, methods=["POST"]),
            Route("/static/{name}", self.static),
        ]
        handlers: Mapping[Any, Any] = {404: self.missing, 405: self.missing}
        self.application = protection.protected(Starlette(routes=routes, exception_handlers=handlers), tls)

    def _view(self, request: Request) -> View:
        """What this person may see now."""
        if self._settings is None:
            return views.of_kit(self._stream.filters)
        policy = self._settings.look()
        user = self._sessions.user(request.cookies.get(COOKIE, ""))
        return (views.of(policy, user) if user else None) or views.of(policy) or View(programmes=frozenset())

    def _page(self, request: Request, name: str, status: int = 200, **values: Any) -> HTMLResponse:
        view = values.pop("view", None) or self._view(request)
        whole = {
            "view": view, "here": "", "can_sign_in": self._settings is not None, "version": self._version, **values,
        }  # fmt: skip
        text = self._pages.get_template(f"board/{name}.html").render(whole)
        # Pages depend on who has signed in.
        return HTMLResponse(text, status, {"cache-control": "no-store"})

    async def night(self, request: Request) -> Response:
        """The night at a glance."""
        view = self._view(request)
        found = await asyncio.to_thread(self._parts.of, view)
        return self._page(request, "night", view=view, here="night", parts=found)

    async def events(self, request: Request) -> Response:
        """What changes on the first page."""
        address, view = _address(request), self._view(request)
        if not self.live.has_place(address):
            return Response("too many open pages", 503, {"retry-after": "30"}, "text/plain")
        stream = self.live.events(address, view, lambda: self._view(request))
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(stream, 200, headers, "text/event-stream")

    async def alert(self, request: Request) -> Response:
        """One alert. One that this person may not see is as one that does not exist."""
        text, view = request.path_params["candid"], self._view(request)
        versions = self._stream.alerts.versions(int(text), view) if _CANDID.fullmatch(text) else []
        if not versions:
            return self._not_found(request, view)
        alert = versions[-1]
        drawn = await asyncio.to_thread(self._pictures.of, alert)
        passed = self._stream.alerts.passed_by(alert.candid, view)
        return self._page(
            request,
            "alert",
            view=view,
            alert=alert,
            card=drawn.card,
            why=drawn.why,
            size=drawn.size,
            digest=drawn.digest,
            hops=list(way.hops(alert, passed)),
            versions=len(versions),
            others=len(self._stream.alerts.of_object(alert.object_id, view)) - 1,
        )

    async def search(self, request: Request) -> Response:
        """Alerts by candid or by the name of their object."""
        query, view = request.query_params.get("q", "").strip()[:64], self._view(request)
        if _CANDID.fullmatch(query) and self._stream.alerts.versions(int(query), view):
            return RedirectResponse(f"/alert/{query}", 303)
        found = self._stream.alerts.of_object(query, view) if query else []
        title = f"Alerts of {query}" if query else "Find an alert"
        message = f"Nothing known here is named {query}." if query else "By its candid, or by its object's name."
        return self._page(
            request, "found", view=view, title=title, query=query, found=found, message=message, explain=True, most=MOST
        )

    async def nights(self, request: Request) -> Response:
        """The last nights and their audits."""
        view = self._view(request)
        found = await asyncio.to_thread(audits.nights, self._audited, view)
        return self._page(request, "nights", view=view, here="nights", audits=found, audited=self._audited is not None)

    async def form(self, request: Request) -> Response:
        """The form to sign in."""
        if self._settings is None:
            return self._not_found(request, self._view(request))
        return self._form(request)

    def _form(self, request: Request, status: int = 200, message: str = "", user: str = "") -> Response:
        hours = LIFE_SECONDS // 3600
        return self._page(request, "sign-in", status, here="sign-in", message=message, user=user, hours=hours)

    async def sign_in(self, request: Request) -> Response:
        """Check a name and a password at the public site, and begin a session."""
        if self._settings is None:
            return self._not_found(request, self._view(request))
        fields = await self._fields(request)
        user, password = fields.get("user", "").strip()[:63], fields.get("password", "")
        answer = await asyncio.to_thread(self._passwords.check, user, password, _address(request))
        if answer is Answer.RIGHT and views.of(self._settings.look(), user) is None:
            answer = Answer.WRONG  # the inventory does not know this account
        if answer is not Answer.RIGHT:
            return self._form(request, _STATUS[answer], _SAID[answer], user)
        found = RedirectResponse("/", 303)
        found.set_cookie(
            COOKIE, self._sessions.begin(user), max_age=LIFE_SECONDS, secure=True, httponly=True, samesite="strict"
        )
        return found

    async def sign_out(self, request: Request) -> Response:
        """End a session."""
        await self._fields(request)
        self._sessions.end(request.cookies.get(COOKIE, ""))
        found = RedirectResponse("/", 303)
        found.delete_cookie(COOKIE, secure=True, httponly=True, samesite="strict")
        return found

    async def _fields(self, request: Request) -> dict[str, str]:
        """The fields of a form of ours. Raises HTTPException for another site's form, or one that is too large."""
        if not protection.same_site(request.headers.get("origin"), request.headers.get("host")):
            raise HTTPException(403, "this form is not one of the board's")
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > MOST_BYTES:
                raise HTTPException(413, "this form is too large")
        try:
            pairs = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=4)
        except ValueError:
            raise HTTPException(400, "this is no form") from None
        return {name: values[-1] for name, values in pairs.items()}

    async def static(self, request: Request) -> Response:
        """A file that pages load; its address changes with its contents."""
        name = request.path_params["name"]
        if name not in self._static:
            return self._not_found(request, self._view(request))
        return Response(self._static[name], 200, {"cache-control": "max-age=86400"}, _STATIC[name][0])

    async def missing(self, request: Request, _: Exception) -> Response:
        """A page that does not exist."""
        return self._not_found(request, self._view(request))

    def _not_found(self, request: Request, view: View) -> Response:
        return self._page(
            request, "found", 404, view=view, title="Not found", found=[], message=_NOT_FOUND, explain=True, most=MOST
        )


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _static(files: tuple[str, ...]) -> bytes:
    return b"\n".join((resources.files("zads") / "templates" / name).read_bytes() for name in files)
