"""A hundred cuts on the candidate, each on a narrow range of magnitudes: about one alert in 500 passes each."""

from typing import Any

from zads.filters import Columns, Filter

FAINT, WIDTH = 20.5, 0.01  # mag: the faint end of the first range, and the width of each


def _cut(number: int) -> type[Filter]:
    low = FAINT - (number + 1) * WIDTH

    class Cut(Filter):
        """Real, positive, not near a known asteroid, and within its range."""

        fields = ("candidate.magpsf", "candidate.rb", "candidate.isdiffpos", "candidate.ssdistnr")
        cap = 20

        def accept_batch(self, alerts: Columns) -> Any:
            candidate = alerts["candidate"]
            magnitude, distance = candidate["magpsf"], candidate["ssdistnr"]
            positive = (candidate["isdiffpos"] == "t") | (candidate["isdiffpos"] == "1")
            asteroid = (distance >= 0.0) & (distance < 5.0)
            return (magnitude >= low) & (magnitude < low + WIDTH) & (candidate["rb"] > 0.65) & positive & ~asteroid

    Cut.__name__ = f"Cut{number:02}"
    return Cut


for _number in range(100):
    globals()[f"Cut{_number:02}"] = _cut(_number)
