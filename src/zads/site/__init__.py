"""What a site must be, as pure functions of the inventory's data: its topics, accounts and grants."""
