#!/usr/bin/python
"""Stands in for the module host_files in tests of roles: writes what it was given into a file, and changes nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    listed = {"type": "list", "default": []}
    module = AnsibleModule(
        argument_spec={
            **dict.fromkeys(("directories", "files", "secrets", "purge", "kept", "applied", "units"), listed),
            "contents": {"type": "dict", "default": {}, "no_log": True},
            "owner": {"type": "str", "default": "root"},
            "group": {"type": "str", "default": "root"},
        },
        supports_check_mode=True,
    )
    target = Path(os.environ["RENDERED"])
    name = "+".join(module.params["units"])
    (target / f"{name}.json").write_text(json.dumps(module.params))
    module.exit_json(changed=False, needs={}, written=[], removed=[])


if __name__ == "__main__":
    main()
