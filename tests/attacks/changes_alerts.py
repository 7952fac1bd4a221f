"""Changes the alert that others are to see."""

from zads.filters import Filter


class Attack(Filter):
    """Changes the alert that others are to see."""

    fields = ("candid", "candidate.rb")
    cap = 1_000_000
    time_limit = 0.3

    def accept(self, alert):
        dict.__setitem__(alert, "candid", 1)
        dict.__setitem__(alert["candidate"], "rb", 0.0)
        return True
