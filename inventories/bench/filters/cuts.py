"""A hundred cuts on the candidate, each on a narrow range of magnitudes: about one alert in 500 passes each."""

from zads.filters import Filter

FAINT, WIDTH = 20.5, 0.01  # mag: of the faintest range, and of each


def _cut(number: int) -> type[Filter]:
    low = FAINT - (number + 1) * WIDTH

    class Cut(Filter):
        """Real, positive, not near a known asteroid, and within its range."""

        fields = ("candidate.magpsf", "candidate.rb", "candidate.isdiffpos", "candidate.ssdistnr")
        cap = 20

        def accept(self, alert) -> bool:
            candidate = alert["candidate"]
            return (
                low <= candidate["magpsf"] < low + WIDTH
                and (candidate["rb"] or 0.0) > 0.65
                and candidate["isdiffpos"] in ("t", "1")
                and not 0.0 <= (-1.0 if candidate["ssdistnr"] is None else candidate["ssdistnr"]) < 5.0
            )

    Cut.__name__ = f"Cut{number:02}"
    return Cut


for _number in range(100):
    globals()[f"Cut{_number:02}"] = _cut(_number)
