"""The topics, accounts and grants that a site must have, as pure functions of the inventory's data."""
