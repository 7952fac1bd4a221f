"""The documentation's pictures of the Night Board show the pages as they are."""

from __future__ import annotations

import re

from browsing import DOCUMENTED, MADE_FROM, ROOT, version_of_pages


def test_the_pictures_were_taken_of_these_pages() -> None:
    """Take them again with: make drill NAME=pictures_are_taken"""
    assert MADE_FROM.read_text().strip() == version_of_pages()


def test_every_picture_is_shown_somewhere() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    shown = {name for page in pages for name in re.findall(r"pictures/([\w-]+\.png)", page.read_text())}
    assert shown == {path.name for path in DOCUMENTED.glob("*.png")}
