"""Write the run's counts as JSON to the file that ZADS_RECAP names, so that programs need not parse the screen."""

from __future__ import annotations

import json
import os
from pathlib import Path

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: recap
type: aggregate
short_description: the recap as a JSON file
description:
  - Writes ok, changed, failures and unreachable of every host when the environment variable ZADS_RECAP names a file.
"""


class CallbackModule(CallbackBase):
    """Does nothing unless ZADS_RECAP is set."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "recap"

    def v2_playbook_on_stats(self, stats):
        target = os.environ.get("ZADS_RECAP")
        if target:
            Path(target).write_text(json.dumps({host: stats.summarize(host) for host in sorted(stats.processed)}))
