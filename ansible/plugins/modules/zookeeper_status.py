#!/usr/bin/python
"""Asks the members of a ZooKeeper ensemble for their state, over TLS, with Python's own library."""
# ruff: noqa: E402 - the order Ansible asks for: documentation, then imports

from __future__ import annotations

DOCUMENTATION = r"""
module: zookeeper_status
short_description: Wait until an ensemble member serves, or until it may go down
description:
  - Runs on a member of the ensemble, with its own certificate. Changes nothing.
  - The action plugin of the same name calls it for some seconds at a time, and shows between two calls what it waits
    for.
options:
  state:
    description:
      - V(serving) waits until this member follows or leads.
      - V(may_stop) waits until every other member follows or leads, so that the ensemble keeps its quorum.
    type: str
    choices: [serving, may_stop]
    required: true
  host: {description: Address of this member, type: str, required: true}
  members: {description: Addresses of all members, type: list, elements: str, required: true}
  port: {description: Port of the secure client listener, type: int, required: true}
  certificate: {description: PEM file with key and certificate, type: path, required: true}
  authority: {description: PEM file of the ensemble's authority, type: path, required: true}
  defer_leader: {description: Answer RV(deferred) if this member leads, type: bool, default: false}
  wait: {description: Maximum seconds to wait, type: int, required: true}
"""

EXAMPLES = r"""
- name: Wait until it serves
  zookeeper_status:
    state: serving
    host: 192.0.2.1
    members: [192.0.2.1, 192.0.2.2, 192.0.2.3]
    port: 2182
    certificate: /etc/zookeeper/tls/keystore.pem
    authority: /etc/zookeeper/tls/ca.pem
    wait: 60
"""

RETURN = r"""
mode: {description: "leader, follower or standalone", returned: always, type: str}
deferred: {description: Whether this member leads and has to be the last, returned: always, type: bool}
reasons: {description: "In check mode, the reasons against it", returned: always, type: list, elements: str}
"""

import socket
import ssl
import time

from ansible.module_utils.basic import AnsibleModule

SERVES = ("leader", "follower", "standalone")
ANSWER = 5  # seconds that a member has to answer


def read(tls: ssl.SSLSocket) -> bytes:
    """Everything that the member sends. It closes without a TLS close_notify, which is not an error here."""
    answer = b""
    try:
        while part := tls.recv(4096):
            answer += part
    except ssl.SSLEOFError:
        pass
    return answer


def mode_of(host: str, port: int, context: ssl.SSLContext) -> str:
    """The mode that a member reports, or the reason why it reports none."""
    try:
        with (
            socket.create_connection((host, port), timeout=ANSWER) as plain,
            context.wrap_socket(plain, server_hostname=host) as tls,
        ):
            tls.sendall(b"srvr")
            answer = read(tls)
    except OSError as error:
        return f"does not answer ({error})"
    for line in answer.decode(errors="replace").splitlines():
        if line.startswith("Mode: "):
            return line.removeprefix("Mode: ").strip()
    return "is up but serves nobody (no quorum)"


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["serving", "may_stop"], "required": True},
            "host": {"type": "str", "required": True},
            "members": {"type": "list", "elements": "str", "required": True},
            "port": {"type": "int", "required": True},
            "certificate": {"type": "path", "required": True},
            "authority": {"type": "path", "required": True},
            "defer_leader": {"type": "bool", "default": False},
            "wait": {"type": "int", "required": True},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        context = ssl.create_default_context(cafile=params["authority"])
        context.load_cert_chain(params["certificate"])
    except OSError as error:
        module.fail_json(msg=f"cannot use {params['certificate']} with {params['authority']}: {error}")
    asked = [params["host"]] if params["state"] == "serving" else params["members"]
    needed = [host for host in asked if params["state"] == "serving" or host != params["host"]]
    deadline = time.monotonic() + (0 if module.check_mode else params["wait"])
    while True:
        modes = {host: mode_of(host, params["port"], context) for host in asked}
        reasons = [f"{host} {modes[host]}" for host in needed if modes[host] not in SERVES]
        if not reasons or time.monotonic() >= deadline:
            break
        time.sleep(0.5)
    if reasons and not module.check_mode:
        what = "may not go down" if params["state"] == "may_stop" else "does not serve"
        module.fail_json(msg=f"the ensemble's member {what}: {'; '.join(reasons)}", reasons=reasons, modes=modes)
    mode = modes[params["host"]]
    module.exit_json(
        changed=False, mode=mode, modes=modes, deferred=params["defer_leader"] and mode == "leader", reasons=reasons
    )


if __name__ == "__main__":
    main()
