"""The topics, accounts, grants and limits that a site must have, as pure functions of the inventory's data."""
