"""Alarms do not lie: each rings for its fault, not in a quiet night, and is silent again. Rules come from one list."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from alarm_faults import FAULTS, HOUR, MINUTE, Fault, quiet_night, values
from zads.alarms import service_level
from zads.alarms.catalogue import ALARMS, QUIET, WATCHDOG, every
from zads.alarms.routing import inhibitions, routing
from zads.alarms.rules import rules
from zads.exporter.figures import FAMILIES
from zads.site.policy import PolicyError

ROOT = Path(__file__).resolve().parents[2]
ALARM_NAMES = [alarm.name for alarm in every()]


def tool(name: str) -> str:
    """A program of Debian's packages prometheus and prometheus-alertmanager."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed: apt-get install prometheus prometheus-alertmanager")
    return found


def run(*command: str) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, (result.stdout + result.stderr)[-4000:]


def ringing(unless: tuple[str, ...], at: int, expected: int, *, only: str = "") -> dict[str, Any]:
    """How many kinds of alarm ring at a moment: the one, or all but some."""
    chosen = f'alertname="{only}"' if only else f'alertname!~"{"|".join((WATCHDOG, *unless))}"'
    expr = f'count(count by (alertname) (ALERTS{{alertstate="firing", {chosen}}})) or vector(0)'
    return {"expr": expr, "eval_time": f"{at}s", "exp_samples": [{"labels": "{}", "value": expected}]}


def case(name: str, fault: Fault) -> dict[str, Any]:
    """A fault as a test of promtool."""
    lasts = fault.lasts or fault.fires + 5 * MINUTE
    ends = fault.begin + lasts
    # Somebody watches, unless that is the fault.
    series = {'zads_exporter_part_up{part="mirror"}': (1, 1, 1), **fault.series}
    return {
        "name": name,
        "interval": f"{fault.step}s",
        "input_series": [
            {"series": one, "values": values(fault, value, fault.clears)} for one, value in series.items()
        ],
        "promql_expr_test": [
            ringing((), fault.begin - fault.step, 0),
            ringing((), fault.begin + fault.fires, 1, only=name),
            ringing((name, *fault.also), fault.begin + fault.fires, 0),
            ringing((), ends - fault.step, 1, only=name),
            ringing((), ends + fault.clears, 0, only=name),
        ],
    }


def promtool_test(directory: Path, tests: list[dict[str, Any]], step: int) -> None:
    (directory / "rules.yml").write_text(yaml.safe_dump(rules()))
    content = {"rule_files": ["rules.yml"], "evaluation_interval": f"{step}s", "tests": tests}
    file = directory / "test.yml"
    file.write_text(json.dumps(content))
    run(tool("promtool"), "test", "rules", str(file))


def test_every_alarm_has_a_fault_and_every_fault_an_alarm() -> None:
    assert sorted(FAULTS) == sorted(ALARM_NAMES)


@pytest.mark.parametrize("step", sorted({fault.step for fault in FAULTS.values()}))
def test_every_alarm_rings_for_its_fault_alone_and_is_silent_after_it(tmp_path: Path, step: int) -> None:
    tests = [case(name, fault) for name, fault in FAULTS.items() if fault.step == step]
    promtool_test(tmp_path, tests, step)


def test_no_alarm_rings_in_a_quiet_night_and_the_dead_mans_switch_always_does(tmp_path: Path) -> None:
    series = [{"series": name, "values": shown} for name, shown in quiet_night().items()]
    switch = {
        "expr": f'count(ALERTS{{alertname="{WATCHDOG}", alertstate="firing"}})',
        "exp_samples": [{"labels": "{}", "value": 1}],
    }
    looks = [ringing((), hour * HOUR, 0) for hour in range(1, 13)]
    looks += [{**switch, "eval_time": f"{hour}h"} for hour in (1, 12)]
    promtool_test(tmp_path, [{"interval": "1m", "input_series": series, "promql_expr_test": looks}], 60)


def test_alerts_that_arrive_in_time_burn_nothing_and_no_alerts_at_all_do_not_either(tmp_path: Path) -> None:
    early = [
        {"series": 'zads_worker_public_seconds_bucket{le="10.0"}', "values": "0+6000x180"},
        {"series": "zads_worker_public_seconds_count", "values": "0+6000x180"},
        {"series": 'zads_exporter_part_up{part="mirror"}', "values": "1x180"},
    ]
    late = {"expr": service_level.late("1h"), "eval_time": "2h"}
    none = [{"series": one["series"], "values": "6000x180"} for one in early[:2]]
    tests = [
        {
            "interval": "1m",
            "input_series": early,
            "promql_expr_test": [{**late, "exp_samples": [{"labels": late["expr"], "value": 0}]}],
        },
        {"interval": "1m", "input_series": [*none, early[2]], "promql_expr_test": [late, ringing((), 7200, 0)]},
    ]
    promtool_test(tmp_path, tests, 60)


def test_prometheus_accepts_the_rules_and_their_sentences(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(rules("https://example.org/runbooks")))
    run(tool("promtool"), "check", "rules", str(tmp_path / "rules.yml"))


@pytest.mark.parametrize("alarm", every(), ids=lambda alarm: alarm.name)
def test_every_alarm_has_a_sentence_and_a_runbook_that_exists(alarm: Any) -> None:
    assert (ROOT / "docs/runbooks" / f"{alarm.runbook}.md").exists()
    assert alarm.says.endswith(".")
    assert alarm.name in (ROOT / "docs/runbooks" / f"{alarm.runbook}.md").read_text(), (
        "the page says which alarms lead to it"
    )


def test_names_are_there_once() -> None:
    assert len(set(ALARM_NAMES)) == len(ALARM_NAMES)
    titles = [group["name"] for group in rules()["groups"]]
    assert len(set(titles)) == len(titles)


def told() -> set[str]:
    """Every metric that something tells: as docs/metrics.md has them, or the site exporter."""
    page = (ROOT / "docs/metrics.md").read_text()
    named = set(re.findall(r"`([a-z]\w+)`", page)) | {family.name for family in FAMILIES}
    return named | {name.removesuffix("_total") for name in named}


def metrics_of(expression: str) -> set[str]:
    """The metrics that an expression names; recorded ones, with a colon, are left out."""
    plain = re.sub(r'"[^"]*"|by \([^)]*\)|\[[^]]*\]', "", expression)
    return set(re.findall(r"(?<![\w:])(?:zads|up|node|kafka|jvm|mirrormaker)(?:_\w+)?(?![\w:(])", plain))


def test_every_metric_that_an_alarm_looks_at_is_told_by_somebody() -> None:
    known = told() | {"up"}
    for alarm in every():
        for name in metrics_of(alarm.expr):
            assert re.sub(r"_(total|bucket|count|sum)$", "", name) in known or name in known, (alarm.name, name)
    for rule in service_level.recording():
        for name in metrics_of(rule["expr"]):
            assert re.sub(r"_(bucket|count)$", "", name) in known, name


def test_what_is_not_sent_is_named_by_alarms_that_exist() -> None:
    assert {name for one in QUIET for name in (one.loud, *one.silent)} <= set(ALARM_NAMES)
    assert not [one for one in QUIET if one.loud in one.silent]
    pages = {alarm.name for alarm in every() if alarm.severity == "page"}
    assert {one.loud for one in QUIET} <= pages, "a ticket must silence no page"


def test_the_alarms_of_the_page_are_in_groups() -> None:
    assert sum(map(len, ALARMS.values())) == len(ALARM_NAMES)


MAIL = {"relay": "mail.example.org:587", "sender": "zads@example.org", "user": "zads"}
TO = [
    {"name": "operator", "mail": "night@example.org"},
    {"name": "pager", "webhook": "https://pager.example.org/hook", "severities": ["page"]},
    {"name": "snitch", "webhook": "https://snitch.example.org/1", "severities": ["watchdog"]},
]
DATA: dict[str, Any] = {"alarms_to": TO, "alarms_mail": MAIL, "alarms_secrets": {"mail": "m1", "pager": "p1"}}


def checked_by_amtool(directory: Path, data: dict[str, Any]) -> dict[str, Any]:
    found = routing(data, str(directory))
    for name, secret in found.secrets.items():
        (directory / name).write_text(secret)
    (directory / "alertmanager.yml").write_text(yaml.safe_dump(found.config))
    run(tool("amtool"), "check-config", str(directory / "alertmanager.yml"))
    return found.config


@pytest.fixture
def hears(tmp_path: Path) -> Callable[..., list[str]]:
    """Who hears of an alarm, by Alertmanager's own judgement."""
    checked_by_amtool(tmp_path, DATA)

    def ask(**labels: str) -> list[str]:
        command = [tool("amtool"), "config", "routes", "test", f"--config.file={tmp_path / 'alertmanager.yml'}"]
        result = subprocess.run(
            [*command, *(f"{name}={value}" for name, value in labels.items())],
            capture_output=True,
            text=True,
            check=True,
        )
        return sorted(set(result.stdout.strip().split(",")))

    return ask


def test_pages_and_tickets_go_to_those_who_want_them_and_the_switch_to_its_own(hears: Callable[..., list[str]]) -> None:
    assert hears(alertname="MirrorIsSilent", severity="page") == ["operator", "pager"]
    assert hears(alertname="BrokerIsDown", severity="ticket") == ["operator"]
    assert "operator" not in hears(alertname=WATCHDOG, severity="none")
    assert "snitch" in hears(alertname=WATCHDOG, severity="none")
    assert hears(alertname="Unknown", severity="none") == ["nobody"]


def test_secrets_are_in_files_of_their_own(tmp_path: Path) -> None:
    config = checked_by_amtool(tmp_path, DATA)
    assert "m1" not in json.dumps(config)
    assert "p1" not in json.dumps(config)
    assert config["global"]["smtp_auth_password_file"] == f"{tmp_path}/mail.secret"
    assert config["global"]["smtp_require_tls"] is True


def test_an_inventory_that_names_nobody_has_a_configuration(tmp_path: Path) -> None:
    config = checked_by_amtool(tmp_path, {})
    assert [one["name"] for one in config["receivers"]] == ["nobody"]
    assert config["inhibit_rules"] == inhibitions()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"alarms_to": [{"name": "a"}]}, "alarms_to.a: has no way"),
        ({"alarms_to": [{"name": "a", "mail": "a@b.c", "webhook": "https://x"}]}, "alarms_to.a: has both ways"),
        ({"alarms_to": [{"name": "A b", "mail": "a@b.c"}]}, "small letters, digits and -"),
        ({"alarms_to": [{"name": "a", "mail": "nobody"}]}, "alarms_to.a.mail: 'nobody' is no address"),
        ({"alarms_to": [{"name": "a", "webhook": "file:///etc/passwd"}]}, "is no URL"),
        ({"alarms_to": [{"name": "a", "mail": "a@b.c", "severities": ["page", "watchdog"]}]}, "or [watchdog]"),
        ({"alarms_to": [{"name": "a", "mail": "a@b.c", "severities": []}]}, "or [watchdog]"),
        (
            {"alarms_to": [{"name": "a", "mail": "a@b.c"}], "alarms_mail": None},
            "alarms_mail: is missing, and a gets mail",
        ),
        (
            {"alarms_mail": {"relay": "mail", "sender": "a@b.c"}},
            "alarms_mail.relay: 'mail' cannot be used: write HOST:PORT",
        ),
        ({"alarms_secrets": {"other": "s3cret"}}, "alarms_secrets.other: belongs to nobody"),
        ({"alarms_secrets": "s3cret"}, "alarms_secrets: cannot be used"),
        ({"alarms_to": [TO[0], TO[0]]}, "is there twice"),
        ({"alarms_to": {"a": 1}}, "write a list of entries"),
    ],
)
def test_a_wrong_receiver_is_refused_in_one_line_without_a_secret(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(PolicyError) as caught:
        routing({**DATA, "alarms_secrets": {}, **changes}, "/etc")
    assert says in str(caught.value)
    assert "s3cret" not in str(caught.value)
