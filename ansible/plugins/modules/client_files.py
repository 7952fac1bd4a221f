#!/usr/bin/python
"""Client configurations that work as they are."""
# ruff: noqa: E402 - the order Ansible asks for: documentation, then imports

from __future__ import annotations

DOCUMENTATION = r"""
module: client_files
short_description: One librdkafka properties file for everybody with a password
description:
  - Runs on the control machine. kcat, confluent-kafka and every other client built on librdkafka use such a file as it
    is. Files of accounts that are gone are removed; files that this module did not write are left alone.
options:
  directory: {description: Where they go, type: path, required: true}
  site: {description: The site that they connect to, type: str, required: true}
  bootstrap: {description: Its brokers, type: list, elements: str, required: true}
  ca: {description: Certificate of its authority, type: path, required: true}
  users: {description: "Name: password", type: dict, required: true}
"""

EXAMPLES = r"""
- name: For everybody at the public site
  client_files:
    directory: .zads/local/clients
    site: public
    bootstrap: ["192.0.2.11:9094"]
    ca: .zads/local/secrets/public/kafka-ca.crt
    users: {reader: "{{ password }}"}
"""

RETURN = r"""
written: {description: Users whose file was made or changed, returned: success, type: list, elements: str}
removed: {description: Users whose file was removed, returned: success, type: list, elements: str}
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.whole_file import replace


def heading(site: str) -> str:
    """The first words of every file that this module writes for a site."""
    return f"# How to connect to the site {site}"


def contents(params: dict, user: str, password: str) -> str:
    """The properties of one user."""
    return "\n".join(
        [
            f"{heading(params['site'])} as {user}. Keep it to yourself: it holds a password.",
            f"bootstrap.servers={','.join(params['bootstrap'])}",
            "security.protocol=SASL_SSL",
            f"ssl.ca.location={params['ca']}",
            "sasl.mechanism=SCRAM-SHA-512",
            f"sasl.username={user}",
            f"sasl.password={password}",
            "# Any group that begins with the user's name is theirs.",
            f"group.id={user}",
            "isolation.level=read_committed",
            "",
        ]
    )


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "site": {"type": "str", "required": True},
            "bootstrap": {"type": "list", "elements": "str", "required": True},
            "ca": {"type": "path", "required": True},
            "users": {"type": "dict", "required": True, "no_log": True},
        },
        supports_check_mode=True,
    )
    params, directory = module.params, Path(module.params["directory"])
    wanted = {f"{user}.properties": contents(params, user, password) for user, password in params["users"].items()}
    there = {
        path.name: path.read_text()
        for path in (directory.glob("*.properties") if directory.is_dir() else [])
        if path.read_text().startswith((heading(params["site"]), "# Super user")) or path.name in wanted
    }
    written = [name for name, text in wanted.items() if there.get(name) != text]
    removed = [name for name, text in there.items() if name not in wanted and text.startswith(heading(params["site"]))]
    if not module.check_mode:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in written:
            replace(directory / name, wanted[name].encode())
        for name in removed:
            (directory / name).unlink()
    module.exit_json(
        changed=bool(written or removed),
        written=[name.removesuffix(".properties") for name in written],
        removed=[name.removesuffix(".properties") for name in removed],
        diff={"before": "".join(f"{n}\n" for n in removed), "after": "".join(f"{n}\n" for n in written)},
    )


if __name__ == "__main__":
    main()
