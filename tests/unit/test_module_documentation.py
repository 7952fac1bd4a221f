"""What each Ansible module documents is what it accepts; its examples and its results can be read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(path.stem for path in (ROOT / "ansible/plugins/modules").glob("*.py"))
#: What the documentation says of an option and of a result. A comma without quotes in a {line} would make another key.
OPTION = {"description", "type", "required", "choices", "default", "elements", "suboptions"}
RESULT = {"description", "returned", "type", "elements"}

Options = dict[str, dict[str, Any]]


@pytest.fixture(params=NAMES)
def module(request: pytest.FixtureRequest, plugin: Callable[[str], ModuleType]) -> ModuleType:
    """Each module in turn."""
    return plugin(f"modules/{request.param}.py")


def _facts(options: Options, nested: str) -> Options:
    """The facts about each option that both forms have. `nested` is the key of the options of an option."""
    return {
        name: {
            "type": option.get("type", "str"),
            "required": option.get("required", False),
            **{key: option.get(key) for key in ("choices", "default", "elements")},
            "options": _facts(option[nested], nested) if option.get(nested) else None,
        }
        for name, option in options.items()
    }


def _described(options: Options) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every documented option, those of options as well."""
    for name, option in options.items():
        yield name, option
        yield from _described(option.get("suboptions", {}))


def _wrong(given: dict[str, Any], options: Options) -> Iterator[str]:
    """What is wrong with the options that an example gives: some are not documented, or a required one is missing."""
    for name in given:
        if name not in options:
            yield f"{name} is not documented"
    for name, option in options.items():
        if option.get("required") and name not in given:
            yield f"{name} is missing"
        if option.get("suboptions"):
            for entry in given.get(name, []):
                yield from _wrong(entry, option["suboptions"])


def test_the_documented_options_are_those_that_the_module_accepts(
    module: ModuleType, accepted: Callable[[ModuleType], Options]
) -> None:
    documentation = yaml.safe_load(module.DOCUMENTATION)
    assert documentation["module"] == module.__name__
    assert _facts(documentation["options"], "suboptions") == _facts(accepted(module), "options")


def test_each_option_says_what_it_is(module: ModuleType) -> None:
    for name, option in _described(yaml.safe_load(module.DOCUMENTATION)["options"]):
        assert option["description"], name
        assert set(option) <= OPTION, name


def test_examples_use_documented_options_and_give_the_required_ones(module: ModuleType) -> None:
    options = yaml.safe_load(module.DOCUMENTATION)["options"]
    tasks = yaml.safe_load(module.EXAMPLES)
    assert tasks
    for task in tasks:
        assert task["name"]
        assert not [*_wrong(task[module.__name__], options)]


def test_each_result_says_what_it_is_and_when_there_is_one(module: ModuleType) -> None:
    results = yaml.safe_load(module.RETURN)
    assert results
    for name, result in results.items():
        assert result["description"], name
        assert {"returned", "type"} <= set(result) <= RESULT, name
