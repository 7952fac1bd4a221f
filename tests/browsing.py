"""The system's Chromium without a window, for tests of web pages."""

from __future__ import annotations

import hashlib
import os
import shutil
import site
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from environments import ROOT, environment

#: Where pictures of pages are kept: for people to look at, and for the documentation.
PICTURES = Path(os.environ.get("ZADS_SCREENSHOTS", ROOT / ".zads" / "cache" / "screenshots"))
#: The documentation's pictures, and the file that says from which version of the board's pages they were made.
DOCUMENTED = ROOT / "docs" / "pictures"
MADE_FROM = DOCUMENTED / "made-from.txt"
#: A page must have loaded after so many seconds.
LOADED_SECONDS = 1.0
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
SCHEMES = ("light", "dark")


def version_of_pages() -> str:
    """The SHA-256 of all files of which the board's pages are made."""
    digest = hashlib.sha256()
    for path in sorted((ROOT / "src/zads/templates/board").iterdir()):
        digest.update(f"{path.name}\n".encode() + path.read_bytes())
    return digest.hexdigest()


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser; what it is driven by is installed into a directory of its own on first use."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("needs a browser: apt-get install --no-install-recommends chromium")
    for path in (environment("browser") / "lib").glob("python*/site-packages"):
        if str(path) not in sys.path:
            site.addsitedir(str(path))
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass
class Window:
    """A page in a window of some size, and what its console complains of."""

    page: Any
    complaints: list[str] = field(default_factory=list)

    def picture(self, name: str) -> None:
        """Keep a picture of the whole page."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=str(PICTURES / f"{name}.png"), full_page=True)

    def photograph(self, name: str) -> None:
        """Take a picture of what the window shows, for the documentation: docs/pictures/NAME.png."""
        path = DOCUMENTED / f"{name}.png"
        self.page.screenshot(path=str(path))

    def quick(self, address: str) -> None:
        """Open a page three times, since the machine may be busy with something else once."""
        took = []
        for _ in range(3):
            began = time.monotonic()
            self.page.goto(address, wait_until="load")
            took.append(time.monotonic() - began)
        assert min(took) < LOADED_SECONDS, f"{address} took {took}"

    def check(self, address: str, name: str) -> None:
        """Open a page: it must be quick, fit, and have no serious fault. Its picture is kept."""
        self.quick(address)
        self.picture(name)
        assert self.too_wide() <= 0, name
        assert self.serious() == [], name

    def serious(self) -> list[str]:
        """What axe finds serious or worse, in words. https://github.com/dequelabs/axe-core"""
        from axe_playwright_python.sync_playwright import Axe

        found = Axe().run(self.page).response["violations"]
        return [f"{one['id']}: {one['nodes'][0]['html']}" for one in found if one["impact"] in ("serious", "critical")]

    def too_wide(self) -> int:
        """By how many pixels the page is wider than its window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


@contextmanager
def window(
    browser: Any, size: str = "desktop", scheme: str = "light", login: dict[str, str] | None = None
) -> Iterator[Window]:
    """A new window with no cookies. It accepts the certificate of the test's own authority.

    ``login``: the ``username`` and ``password`` with which it answers a page that asks for them.
    """
    width, height = SIZES[size]
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme=scheme,
        ignore_https_errors=True,
        http_credentials=login,
    )
    found = Window(context.new_page())
    found.page.on(
        "console", lambda one: found.complaints.append(one.text) if one.type in ("error", "warning") else None
    )
    found.page.on("pageerror", lambda one: found.complaints.append(str(one)))
    yield found
    context.close()
