"""The verbs of the ``zads`` command, one module each; ``zads.cli`` imports a module when its verb is used."""

from zads.logs import begin as log_to_stderr

__all__ = ["log_to_stderr"]
