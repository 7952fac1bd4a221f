"""The documentation as a site in .zads/site, for reading without a network or a server: `make docs` builds it.

The pages are written to be read in the repository, where a link may lead to any file. In the site such a file is a page
of its own, with its text as it is. A picture in Mermaid is drawn by Graphviz when the site is built: a reader's browser
fetches nothing from elsewhere.
"""

from __future__ import annotations

import posixpath
import re
import shutil
import sys
import tempfile
from pathlib import Path

from sphinx.cmd.build import main as sphinx

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / ".zads" / "site"
#: The pages by reader, each a file of the repository. `make docs` fails if a page of docs/ is in none.
CONTENTS = {
    "Begin": ["docs/tutorial.md"],
    "Subscribers": ["docs/consume.md", "docs/archive.md"],
    "Filter authors": ["docs/filters.md"],
    "Operators": [
        "docs/inventories.md",
        "docs/plan.md",
        "docs/deliver.md",
        "docs/nights.md",
        "docs/audit.md",
        "docs/board.md",
        "docs/metrics.md",
        "docs/alarms.md",
        "docs/runbooks/README.md",
    ],
    "How it works": ["docs/architecture.md", "docs/decisions.md", "CONTRIBUTING.md"],
    "Reference": ["docs/reference.md", "docs/drills.md", "docs/bench.md"],
}
FIRST = "README.md"
LINK = re.compile(r"(?<=\]\()(?!https?:|mailto:|#)([^)#\s]+)(#[^)\s]*)?(?=\))")
MERMAID = re.compile(r"^```mermaid\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PICTURE = ".png"
LANGUAGES = {".py": "python", ".yml": "yaml", ".json": "json"}


def page_of(source: str) -> str:
    """The site's page that shows a file of the repository. Pages of docs/ stay where they are."""
    if source == FIRST:
        return "index.md"
    if source.startswith("docs/"):
        return source.removeprefix("docs/")
    if source.endswith(PICTURE):
        return f"sources/{source}"
    return f"sources/{source}" if source.endswith(".md") else f"sources/{source}.md"


def links(text: str, source: str) -> set[str]:
    """The files of the repository that a page links to. `source` is the page's own file."""
    return {_resolved(match[1], source) for match in LINK.finditer(text)}


def _resolved(link: str, source: str) -> str:
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
    return f"{path}/README.md" if (ROOT / path / "README.md").is_file() else path


def as_page(source: str) -> str:
    """What the site shows of a file: a page with the links and pictures of the site, or a listing."""
    text = (ROOT / source).read_text()
    if not source.endswith(".md"):
        return f"# {source}\n\n````{LANGUAGES.get(Path(source).suffix, 'text')}\n{text}````\n"
    here = posixpath.dirname(page_of(source)) or "."

    def moved(match: re.Match[str]) -> str:
        return posixpath.relpath(page_of(_resolved(match[1], source)), here) + (match[2] or "")

    return MERMAID.sub(lambda match: f"```{{graphviz}}\n{as_dot(match[1])}```", LINK.sub(moved, text))


def contents() -> str:
    """The table of contents, a block for each kind of reader. The runbooks are listed below their overview."""
    lines = []
    for caption, sources in CONTENTS.items():
        pages = [page_of(source).removesuffix(".md") for source in sources]
        lines += ["```{toctree}", ":hidden:", f":caption: {caption}", "", *pages, "```", ""]
    return "\n".join(lines)


def stage(directory: Path) -> None:
    """Write the site's sources: every page of the contents, the runbooks, and each file that one of them links to."""
    runbooks = sorted(f"docs/runbooks/{path.name}" for path in (ROOT / "docs/runbooks").glob("*.md"))
    runbooks.remove("docs/runbooks/README.md")
    waiting = [FIRST, *(source for sources in CONTENTS.values() for source in sources), *runbooks]
    waiting += [f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")]
    staged: set[str] = set()
    while waiting:
        source = waiting.pop()
        if source in staged or not (ROOT / source).is_file():
            continue  # Sphinx names a link that leads nowhere
        staged.add(source)
        page = directory / page_of(source)
        page.parent.mkdir(parents=True, exist_ok=True)
        if source.endswith(PICTURE):
            shutil.copy(ROOT / source, page)
            continue
        text = as_page(source)
        if source == FIRST:
            text += f"\n{contents()}"
        elif source == "docs/runbooks/README.md":
            names = [Path(one).stem for one in runbooks]
            text += "\n" + "\n".join(["```{toctree}", ":hidden:", "", *names, "```", ""])
        elif page_of(source).startswith("sources/") and source not in CONTENTS["How it works"]:
            text = f"---\norphan: true\n---\n\n{text}"
        page.write_text(text)
        if source.endswith(".md"):
            waiting += links((ROOT / source).read_text(), source)


#: A node of a chart: its name, and perhaps its shape and label. Then an edge between two, perhaps with a text.
NODE = r"(\w+)(?:(\(\[|\[\(|\[)(.*?)(?:\]\)|\)\]|\]))?"
EDGE = re.compile(rf"{NODE} (?:-->|-- (.*?) -->|-\. (.*?) \.-) {NODE}")
SHAPES = {"([": 'shape=box, style="rounded"', "[(": "shape=cylinder", "[": "shape=box"}
LOOKS = [
    "bgcolor=transparent; ranksep=0.3; nodesep=0.15",
    'node [fontname="sans-serif", fontsize=11, color="#7986cb", fontcolor="#7986cb"]',
    'edge [fontname="sans-serif", fontsize=10, color="#7986cb", fontcolor="#7986cb"]',
]


def as_dot(chart: str) -> str:
    """A Mermaid flowchart in the language of Graphviz: the part of Mermaid that scripts/pictures.py writes.

    Raises ValueError at a line of another kind.
    """
    head, *lines = [line.strip() for line in chart.strip().splitlines()]
    out = [f"rankdir={head.removeprefix('flowchart ').replace('TD', 'TB')}", *LOOKS]
    for line in lines:
        if line == "end":
            out.append("}")
        elif line.startswith("subgraph "):
            name = line.removeprefix("subgraph ")
            out.append(f'subgraph "cluster_{name}" {{ label="{name}"; color="#7986cb"; fontcolor="#7986cb"')
        elif edge := EDGE.fullmatch(line):
            one, other = edge.group(1, 2, 3), edge.group(6, 7, 8)
            out += [_node(*node) for node in (one, other) if node[1]]
            undirected = "style=dotted, dir=none, " if edge[5] else ""
            out.append(f'{one[0]} -> {other[0]} [{undirected}label="{edge[4] or edge[5] or ""}"]')
        elif node := re.fullmatch(NODE, line):
            out.append(_node(*node.groups()))
        else:
            raise ValueError(f"the site cannot draw this line of a picture: {line}")
    return "digraph {\n" + "\n".join(out) + "\n}\n"


def _node(name: str, opening: str, label: str) -> str:
    text = label.strip('"')
    shown = f"<{text.replace('&', '&amp;')}>" if "<" in text else f'"{text}"'
    return f"{name} [{SHAPES[opening]}, label={shown}]"


def build(site: Path = SITE) -> None:
    """Build the site into a directory, in place of what it held.

    Exits with Sphinx' status if it warns of anything, and if Graphviz is missing.
    """
    if shutil.which("dot") is None:
        sys.exit("docs: the pictures need Graphviz: make prepare, or apt-get install graphviz")
    with tempfile.TemporaryDirectory() as staged:
        stage(Path(staged))
        shutil.copy(ROOT / "docs" / "conf.py", staged)
        built = Path(staged) / "_site"
        if status := sphinx(["-q", "-W", "--keep-going", "-b", "html", "-d", f"{staged}/_trees", staged, str(built)]):
            sys.exit(status)
        shutil.rmtree(site, ignore_errors=True)
        shutil.copytree(built, site)
    print(f"docs: {site / 'index.html'}")


if __name__ == "__main__":
    build()
