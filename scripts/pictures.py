"""The pictures of docs/architecture.md, as Mermaid charts, made from the sources: layers, data flow, deploy order."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from zads import names
from zads.inventory import Inventory
from zads.site import access
from zads.site.policy import Policy

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "src"

#: From the bottom up: each layer's title, and its modules and packages in ``zads``. A module imports only from its own
#: layer and from those below it. A module that is listed itself does not belong to the layer of its package.
LAYERS: list[tuple[str, tuple[str, ...]]] = [
    (
        "Words: names, dates and errors",
        ("errors", "environment", "wholefile", "julian", "names", "output", "secrecy", "logs"),
    ),
    ("What an alert is", ("avro", "schemas", "header", "strangers", "packet", "cutouts", "inflate")),
    (
        "Kafka clients",
        (
            "kafka",
            "quotas",
            "reading",
            "transactions",
            "rejections",
            "replication",
            "metrics",
            "watchdog",
            "rest",
            "reach",
        ),
    ),
    ("What a site must be", ("site", "plan", "kit", "inventory", "journals")),
    ("Where alerts come from", ("sources",)),
    ("From the spool to the origin, and samples for testers", ("ledger", "producer", "sample")),
    ("How alerts are shown", ("alert_card", "pages")),
    ("Filters", ("filters",)),
    ("The survey's changes", ("schema_change",)),
    (
        "Checks: every alert arrived, once, in time",
        ("manifest", "audit", "progress", "subscriber", "canary", "warmup", "groups"),
    ),
    ("The Night Board", ("board",)),
    ("Nights that come, go and are audited by themselves", ("night_keeper", "auditor")),
    ("What is watched all night, and its alarms", ("exporter", "alarms", "dashboards")),
    ("What a deployment needs to come back", ("backup",)),
    ("The nights as archives, alerts streamed again, alerts followed", ("archive", "replay", "trace")),
    ("Builds of images and archives, and the hosts of a lab", ("build", "lab")),
    ("What people see", ("report", "liveview", "demo")),
    ("The command line", ("commands", "cli")),
]


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name, ``zads`` itself left out."""
    found = {}
    for path in sorted((SOURCES / "zads").rglob("*.py")):
        name = ".".join(path.relative_to(SOURCES).with_suffix("").parts).removesuffix(".__init__")
        if name != "zads":
            found[name] = path
    return found


def imports(path: Path, known: Iterable[str]) -> set[str]:
    """The modules of the package that a file imports, within functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.add(whole if whole in known else node.module)
    return found & set(known)


def layer(module: str) -> int:
    """The number of a module's layer, 0 at the bottom. Raises LookupError if it has none."""
    name = module.removeprefix("zads.")
    found = [
        (len(prefix), number)
        for number, (_, prefixes) in enumerate(LAYERS)
        for prefix in prefixes
        if name == prefix or name.startswith(f"{prefix}.")
    ]
    if not found:
        raise LookupError(f"{module} is in no layer: give it one in scripts/pictures.py")
    return max(found)[1]


def upward() -> list[str]:
    """Imports that go against the layers, in words."""
    known = modules()
    return [
        f"{name} imports {other}, which is above it"
        for name, path in known.items()
        for other in sorted(imports(path, known))
        if layer(other) > layer(name)
    ]


def layers() -> list[str]:
    """The layers, the command line at the top, with an arrow to each layer that one imports from."""
    known = modules()
    uses = {(layer(name), layer(other)) for name, path in known.items() for other in imports(path, known)}
    uses = {(one, other) for one, other in uses if one != other}
    # An arrow that follows from two others is redundant.
    direct = {
        (one, other)
        for one, other in uses
        if not any((one, between) in uses and (between, other) in uses for between in range(len(LAYERS)))
    }
    lines = ["flowchart TD"]
    for number in reversed(range(len(LAYERS))):
        title, members = LAYERS[number]
        lines.append(f'  l{number}["<b>{title}</b><br/>{", ".join(members)}"]')
    return [*lines, *(f"  l{one} --> l{other}" for one, other in sorted(direct, reverse=True))]


def flow() -> list[str]:
    """The writers and readers of each topic, from the grants of inventories/local for one night."""
    inventory = Inventory.load("local", ROOT)
    policy = inventory.policy()
    lines = ["flowchart LR", "  pipeline([the pipeline]) -- exposures --> origin_zads_producer"]
    for site in ("origin", "public"):
        nights = [("20181129", programme) for programme in sorted(policy.allowed(site))]
        lines += [f"  subgraph {site}", *_site(policy, site, nights), "  end"]
    return [*lines, *_between(policy)]


def _site(policy: Policy, site: Any, nights: list[tuple[str, int]]) -> list[str]:
    edges: dict[tuple[str, str], set[str]] = {}
    for acl in access.wanted_acls(policy, site, nights):
        if acl.resource == "topic" and acl.operation in {"read", "write"} and acl.pattern == "literal":
            who, what = acl.principal.removeprefix("User:"), _topic(acl.name)
            if what:
                edges.setdefault((_who(who), what), set()).add(acl.operation)
    lines = []
    for (who, what), operations in sorted(edges.items()):
        program, topic = f"{site}_{who.replace('.', '_').replace(' ', '_')}", f"{site}_{what}"
        shown = f"{program}([{who}])", f"{topic}[({what})]"
        arrow = {"read": "{1} --> {0}", "write": "{0} --> {1}"}
        for operation in sorted(operations):
            lines.append("    " + arrow[operation].format(*shown))
    return lines


def _between(policy: Policy) -> list[str]:
    mirror = names.MIRROR.replace(".", "_")
    return [f"  origin_{mirror} -. one process .- public_{mirror}"] if policy.allowed("public") else []


def _who(principal: str) -> str:
    if principal.startswith(names.filters_principal("")):
        return names.filters_principal("GROUP")
    return principal if principal.startswith(names.program("")) else "subscribers"


def _topic(name: str) -> str:
    """A topic's name with capitals in place of its variable parts; empty for topics that the picture leaves out."""
    if parsed := names.parse_topic(name):
        return "" if parsed[0] == names.CANARY_NIGHT else f"ztf_NIGHT_programid{parsed[1]}"
    if names.filter_name(name) is not None:
        return "ztf_filter_NAME"
    return name if name.startswith("zads_") else ""


def order() -> list[str]:
    """The plays of a deployment, one after the other, with the hosts of each."""
    lines = ["flowchart TD"]
    for number, (name, hosts) in enumerate(_plays("deploy.yml")):
        lines.append(f'  p{number}["{name}<br/><i>{hosts}</i>"]')
        if number:
            lines.append(f"  p{number - 1} --> p{number}")
    return lines


def _plays(file: str) -> list[tuple[str, str]]:
    plays: list[Mapping[str, Any]] = yaml.safe_load((ROOT / "ansible" / "playbooks" / file).read_text())
    found = []
    for play in plays:
        imported = play.get("ansible.builtin.import_playbook")
        hosts = f"see {imported}" if imported else str(play["hosts"]).replace(":", ", ")
        found.append((str(play["name"]), hosts))
    return found


PICTURES = {"layers": layers, "flow": flow, "order": order}
