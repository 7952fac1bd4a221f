"""Filters that come with ZADS: useful cuts, and examples to copy."""
