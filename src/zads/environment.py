"""A variable of this process's environment for a while: what is started meanwhile inherits it."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def variable(name: str, value: str) -> Iterator[None]:
    """Set a variable during the body; afterwards it has the value of before, or is unset as before."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
