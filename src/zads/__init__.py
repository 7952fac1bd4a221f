"""ZADS: the alert distribution system of the Zwicky Transient Facility, as code."""

from importlib.metadata import version

__version__ = version("zads")
