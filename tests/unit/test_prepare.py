"""Which packages a computer needs to become a control machine."""

from __future__ import annotations

import engine
import pytest


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A computer that has no program and no engine."""
    monkeypatch.setattr(engine.shutil, "which", lambda *_, **__: None)
    monkeypatch.setattr(engine, "engine_answers", lambda: False)


@pytest.mark.parametrize(
    ("release", "client"),
    [
        ({"ID": "debian", "VERSION_ID": "12"}, False),
        ({"ID": "debian", "VERSION_ID": "13"}, True),
        ({"ID": "debian", "VERSION_CODENAME": "sid"}, True),
        ({"ID": "ubuntu", "VERSION_ID": "24.04"}, False),
    ],
)
def test_the_engines_client_is_its_own_package_since_debian_13(
    bare: None, monkeypatch: pytest.MonkeyPatch, release: dict[str, str], client: bool
) -> None:
    monkeypatch.setattr(engine.platform, "freedesktop_os_release", lambda: release)
    packages = engine.missing_packages()
    assert ("docker-cli" in packages) is client
    assert {"docker.io", "iptables", "maven"} <= set(packages)


def test_an_engine_that_answers_is_used_without_installing_another(bare: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "engine_answers", lambda: True)
    packages = engine.missing_packages()
    assert not {"docker.io", "docker-cli", "iptables"} & set(packages)
    assert "maven" in packages
