"""The verbs of the ``zads`` command, one module each; ``zads.cli`` imports a module when its verb is used."""
