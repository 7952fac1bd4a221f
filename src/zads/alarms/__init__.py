"""The alarms: one list, from which Prometheus' rules, Alertmanager's routes and the page docs/alarms.md are made."""
