"""The lab: any inventory realised as containers that boot systemd, and the images that this takes."""
