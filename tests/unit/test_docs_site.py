"""The documentation's site: pages, links and pictures in the form that it needs, and a build without a warning."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
import docs_site  # noqa: E402


@pytest.mark.parametrize(
    ("source", "page"),
    [
        ("README.md", "index.md"),
        ("docs/runbooks/deploy.md", "runbooks/deploy.md"),
        ("CONTRIBUTING.md", "sources/CONTRIBUTING.md"),
        ("tests/drills.py", "sources/tests/drills.py.md"),
    ],
)
def test_a_file_has_one_page(source: str, page: str) -> None:
    assert docs_site.page_of(source) == page


def test_a_link_to_a_file_outside_the_documentation_leads_to_its_page() -> None:
    text = docs_site.as_page("docs/drills.md")
    assert "](sources/tests/system/drill_clients.py.md)" in text
    assert "](../tests" not in text


def test_a_listing_is_the_file_as_it_is() -> None:
    assert (ROOT / "tests/drills.py").read_text() in docs_site.as_page("tests/drills.py")


def test_a_line_that_cannot_be_drawn_is_named() -> None:
    assert "a -> b" in docs_site.as_dot("flowchart LR\n  a([one]) -- two --> b[(three)]\n")
    with pytest.raises(ValueError, match="a ==> b"):
        docs_site.as_dot("flowchart LR\n  a ==> b\n")


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed; make prepare installs it")
def test_the_site_is_built_without_a_warning_and_fetches_nothing(tmp_path: Path) -> None:
    site = tmp_path / "site"
    program = f"import docs_site, pathlib; docs_site.build(pathlib.Path({str(site)!r}))"
    built = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT / "scripts", capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr[-3000:]
    pages = list(site.rglob("*.html"))
    assert len(pages) > 40
    for page in pages:
        for fetched in re.findall(
            r"<(?:script|img|link|iframe|object)[^>]*(?:src|href|data)=\"([^\"]*)\"", page.read_text()
        ):
            assert not re.match(r"https?:|//", fetched), f"{page.name} fetches {fetched}"
