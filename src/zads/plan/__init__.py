"""What a survey asks of a deployment, what that needs, and whether the hosts have it."""
