"""What every answer of the board tells browsers, and whose forms are taken."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

#: Nothing is loaded from elsewhere, nothing inline runs, no other site frames a page or gets a form.
POLICY = "; ".join(
    [
        "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' data:", "connect-src 'self'",
        "form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'",
    ]
)  # fmt: skip
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
#: A year; of no effect without TLS.
_TLS_ONLY = ("strict-transport-security", "max-age=31536000")


def protected(inner: Application, tls: bool) -> Application:
    """The application with these headers on every answer. ``tls``: whether people reach it by TLS alone."""
    added = [(name.encode(), value.encode()) for name, value in (*HEADERS.items(), *([_TLS_ONLY] if tls else []))]

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *added]
            await send(message)

        await inner(scope, receive, with_headers)

    return application


def same_site(origin: str | None, host: str | None) -> bool:
    """Whether a form was sent by one of our own pages. Browsers name the page's site in every request that posts."""
    return bool(origin and host) and urlsplit(origin or "").netloc.lower() == (host or "").lower()
