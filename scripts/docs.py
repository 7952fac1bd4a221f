"""`make docs`: writes what the documentation takes from the sources.

docs/reference.md is made from the Makefile's targets, the commands and the roles' variables. docs/architecture.md has
pictures, docs/plan.md the plans of known surveys, docs/metrics.md the metrics of our programs, docs/alarms.md the
alarms. The dashboards for Grafana are made in the same way. `--check` writes nothing and exits 1 if a page differs from
the sources; a unit test runs it.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import click
import pictures
import yaml
from prometheus_client.metrics import MetricWrapperBase

from zads import metrics
from zads.alarms.catalogue import ALARMS
from zads.cli import COMMANDS, load
from zads.dashboards import DASHBOARDS
from zads.exporter.figures import FAMILIES
from zads.plan import figures, needs, verdict
from zads.plan.load import EXAMPLES

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "reference.md"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
PLAN = ROOT / "docs" / "plan.md"
METRICS = ROOT / "docs" / "metrics.md"
ALARMS_PAGE = ROOT / "docs" / "alarms.md"
#: Dashboards for Grafana, which the role copies and anybody can import.
BOARDS = ROOT / "roles" / "grafana_dashboards" / "files"


def makefile() -> list[str]:
    """The Makefile's targets and what each does, from the comments that `make help` prints."""
    found = re.findall(r"^([a-z]+):.*?## (.*)$", (ROOT / "Makefile").read_text(), re.M)
    return ["| target | does |", "| --- | --- |", *(f"| `make {target}` | {text} |" for target, text in found)]


def commands() -> list[str]:
    """Every verb of `zads` with its options, from the code that parses them."""
    lines: list[str] = []
    for verb in COMMANDS:
        lines += command(f"zads {verb}", load(verb))
    return lines


def command(name: str, found: click.Command) -> list[str]:
    """One command, or a group and the commands in it."""
    inner = getattr(found, "commands", None)
    if inner:
        return [line for verb, one in inner.items() for line in command(f"{name} {verb}", one)]
    text = re.sub(r"\s*\n\s*", " ", (found.help or "").replace("\b", "").strip())
    lines = [f"### `{name}`", "", text, ""]
    rows = []
    for parameter in found.params:
        shown = ", ".join(f"`{option}`" for option in parameter.opts if parameter.param_type_name == "option")
        shown = shown or f"`{(parameter.name or '').upper()}`"
        if shown != "`--help`":
            rows.append(f"| {shown} | {_text(getattr(parameter, 'help', None) or '')} |")
    return [*lines, "| option | meaning |", "| --- | --- |", *rows, ""] if rows else lines


def roles() -> list[str]:
    """Every role's variables with their defaults, from its argument specification."""
    lines: list[str] = []
    for directory in sorted((ROOT / "roles").iterdir()):
        spec: dict[str, Any] = yaml.safe_load((directory / "meta" / "argument_specs.yml").read_text())
        main = spec["argument_specs"]["main"]
        lines += [f"### {directory.name}", "", str(main["short_description"]).rstrip(".") + ".", ""]
        options: dict[str, Any] = main.get("options", {})
        file = directory / "defaults" / "main.yml"
        defaults = (yaml.safe_load(file.read_text()) or {}) if file.exists() else {}
        rows = [
            f"| `{name}` | {_default(defaults, name)} | {_text(option['description'])} |"
            for name, option in options.items()
        ]
        lines += ["| variable | default | meaning |", "| --- | --- | --- |", *rows, ""] if rows else []
    return lines


def _default(defaults: dict[str, Any], name: str) -> str:
    return f"`{_text(str(defaults[name]))}`" if name in defaults else "required"


def _text(description: str | list[str]) -> str:
    joined = " ".join(description) if isinstance(description, list) else description
    return re.sub(r"\s+", " ", joined).replace("|", "\\|").strip()


def reference() -> str:
    """The whole page of reference."""
    parts = [
        "# Reference", "", "Made from the sources by `make docs`: change it there.", "",
        "## Makefile", "", *makefile(), "", "## zads", "", *commands(), "## Roles", "", *roles(),
    ]  # fmt: skip
    return "\n".join(parts).rstrip() + "\n"


def architecture() -> str:
    """The page of architecture with new pictures; each picture follows a comment that names it."""
    text = ARCHITECTURE.read_text()
    for name, draw in pictures.PICTURES.items():
        block = f"<!-- picture: {name} -->\n```mermaid\n" + "\n".join(draw()) + "\n```\n"
        place = re.compile(rf"<!-- picture: {name} -->\n```mermaid\n.*?^```\n", re.MULTILINE | re.DOTALL)
        text, count = place.subn(block.replace("\\", r"\\"), text)
        if count != 1:
            sys.exit(f"docs/architecture.md has {count} places for the picture {name}; it needs one")
    return text


def plans() -> str:
    """The page of plans with new tables; each table follows a comment that names its survey."""
    text = PLAN.read_text()
    for name, demand in EXAMPLES.items():
        rows = [
            f"| {one.part} | {one.name} | {one.shown} | {_text(one.because)} |"
            for one in figures.figures(needs.plan(demand))
        ]
        found = verdict.of_demand(demand)
        rows += [line for one in (*found.tight, *found.refused) for line in ("", f"Beware: {one}.")]
        block = [f"<!-- plan: {name} -->", "", "| of | what | needed | why |", "| --- | --- | --- | --- |", *rows, ""]
        place = re.compile(rf"<!-- plan: {name} -->\n.*?(?=^<!-- end -->)", re.MULTILINE | re.DOTALL)
        text, count = place.subn("\n".join([*block, ""]).replace("\\", r"\\"), text)
        if count != 1:
            sys.exit(f"docs/plan.md has {count} places for the plan {name}; it needs one")
    return text


def told() -> str:
    """The page of metrics with new tables of what our programs tell, between two comments."""
    rows = []
    for one in vars(metrics).values():
        if isinstance(one, MetricWrapperBase):
            (family,) = one.describe()
            name = f"{family.name}_total" if family.type == "counter" else family.name
            labels = ", ".join(f"`{label}`" for label in one._labelnames)
            rows.append(f"| `{name}` | {family.type} | {labels} | {_text(family.documentation)} |")
    bounds = [f"| `{label}` | {bound} |" for label, bound in metrics.LABELS.items()]
    block = [
        "<!-- metrics -->", "", "| metric | kind | labels | says |", "| --- | --- | --- | --- |", *rows,
        "", "| label | bounded by |", "| --- | --- |", *bounds, "", "",
    ]  # fmt: skip
    text = _between("metrics", block[1:], METRICS.read_text(), "docs/metrics.md")
    rows = [
        f"| `{one.name}` | {', '.join(f'`{label}`' for label in one.labels)} | {_text(one.says)} |" for one in FAMILIES
    ]
    block = ["", "| metric | labels | says |", "| --- | --- | --- |", *rows, "", ""]
    return _between("exporter", block, text, "docs/metrics.md")


def alarms() -> str:
    """The page of alarms with a new table for each group, between two comments."""
    lines: list[str] = []
    for title, group in ALARMS.items():
        lines += ["", f"### {title}", "", "| alarm | who | rings when | page |", "| --- | --- | --- | --- |"]
        for one in group:
            lasting = "" if one.after == "0s" else f", for {one.after}"
            page = f"[{one.runbook}](runbooks/{one.runbook}.md)"
            lines.append(f"| `{one.name}` | {one.severity} | `{_text(one.expr)}`{lasting} | {page} |")
    return _between("alarms", [*lines, "", ""], ALARMS_PAGE.read_text(), "docs/alarms.md")


def _between(name: str, block: list[str], text: str, page: str) -> str:
    """A page with a new block between the comment that names it and the next comment `end`."""
    place = re.compile(rf"<!-- {name} -->\n.*?(?=^<!-- end -->)", re.MULTILINE | re.DOTALL)
    text, count = place.subn("\n".join([f"<!-- {name} -->", *block]).replace("\\", r"\\"), text)
    if count != 1:
        sys.exit(f"{page} has {count} places for {name}; it needs one")
    return text


if __name__ == "__main__":
    pages = {
        REFERENCE: reference(),
        ARCHITECTURE: architecture(),
        PLAN: plans(),
        METRICS: told(),
        ALARMS_PAGE: alarms(),
    }
    pages |= {BOARDS / f"{board.uid}.json": board.json() for board in DASHBOARDS}
    older = [page for page, text in pages.items() if not page.exists() or page.read_text() != text]
    if sys.argv[1:] == ["--check"] and older:
        sys.exit(f"{' and '.join(str(page.relative_to(ROOT)) for page in older)} differ from their sources: make docs")
    for page in older:
        page.write_text(pages[page])
