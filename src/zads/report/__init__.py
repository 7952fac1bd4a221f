"""The report of a played night: its figures, the alerts that filters passed, and the page that shows them."""
