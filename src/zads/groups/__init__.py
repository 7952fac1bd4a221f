"""The consumer groups of a site: whose they are, how far behind, and how one is moved or removed on purpose."""
