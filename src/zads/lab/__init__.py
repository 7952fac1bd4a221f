"""The lab: any inventory realised as containers that boot systemd."""
