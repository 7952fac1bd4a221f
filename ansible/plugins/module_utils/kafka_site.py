"""The common part of the modules that speak to a site's Kafka.

They run on the control machine with the interpreter of ansible-playbook, which has the package zads. Each module reads
the present state of a site, compares it with the wanted state (a pure function of ``zads.site``), and applies the
difference, except in check mode.
"""

from __future__ import annotations

import time

from ansible.module_utils.basic import AnsibleModule
from confluent_kafka import KafkaError, KafkaException

from zads.errors import ZadsError
from zads.kafka import read_properties
from zads.site.cluster import ANSWER, PAUSE, RESOURCES, SPREAD, Cluster, passing

__all__ = ["ANSWER", "RESOURCES", "ansible_diff", "run", "site_module"]


def site_module(**arguments) -> AnsibleModule:
    """A module with these arguments, and ``client``: the administrator's properties file of the site."""
    return AnsibleModule(
        argument_spec={"client": {"type": "path", "required": True}, **arguments}, supports_check_mode=True
    )


def run(module: AnsibleModule, work) -> None:
    """Do ``work(site)`` and end the module with the dictionary that it returns, or with one sentence for an error.

    While a broker or the controller moves, the work is repeated for at most SPREAD seconds. A repetition does no harm,
    since the work compares before it changes anything.
    """
    deadline = time.monotonic() + SPREAD
    altered = False
    while True:
        site = None
        try:
            site = Cluster(read_properties(module.params["client"]))
            result = work(site)
            break
        except ZadsError as error:
            module.fail_json(msg=str(error))
        except KafkaException as error:
            reason = error.args[0]
            again = site is not None and site.answered and passing(error)
            if not again or time.monotonic() > deadline:
                text = reason.str() if isinstance(reason, KafkaError) else str(reason)
                module.fail_json(msg=f"the site of {module.params['client']} answers: {text}")
            altered = altered or site.altered
            time.sleep(PAUSE)
    module.exit_json(**{**result, "changed": result["changed"] or altered})


def ansible_diff(before, after) -> dict:
    """Two lists of lines, in the form of a difference that ``--diff`` prints."""
    return {"before": "".join(f"{line}\n" for line in before), "after": "".join(f"{line}\n" for line in after)}
