"""Follows one alert through every hop, and tells what the streams themselves say of it.

1. The ledger at the origin knows which exposure brought an alert, for which night, and when. Without access to it, the
   night is the one that is given, or the date that the candid begins with.
2. The night's topics at the origin are searched around that moment; all of them if the alert is not found there.
3. The same topics are searched at the public site: from the moment at which the alert was produced.
4. The topics of filters are searched for a day after its arrival at the public site, and the topics of refused input.
5. For each filter follows what it made of the alert: from its topic, its failures, its workers' counts and offsets. If
   its code is at hand, it is run once more, which tells a cut by its cap from a rejection.

What a client may not read is left out, and looks like what does not exist: so a subscriber learns nothing of another
programme's alerts. Everything here only reads.
"""

from zads.trace.follow import follow
from zads.trace.hops import FilterHop, LedgerHop, RefusalHop, Sighting, Trace

__all__ = ["FilterHop", "LedgerHop", "RefusalHop", "Sighting", "Trace", "follow"]
