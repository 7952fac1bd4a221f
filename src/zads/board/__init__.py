"""The Night Board: web pages on which people see the night. It reads the public site, and writes nothing."""

#: Where it is served, if nothing else is said.
PORT = 9480
