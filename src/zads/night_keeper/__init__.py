"""The nights come by themselves: their topics and grants are made ahead of time at both sites, and removed at the end.

A round, of which there is one a minute:

1. The data policy is read. A deployment may have replaced it.
2. Each site's clock is read off a canary that its brokers stamp. Brokers' clocks decide when records expire.
3. Each site is asked for its topics and grants, and which past nights hold no record.
4. What is missing is made by the plan (`zads.site.nights`): grants first, and those that are not wanted are withdrawn;
   then topics, those of the present night first; the public site first, so that the mirror finds the topics there.
5. Nights that may be removed have no grants now. After a moment, in which a write under way ends, those that still hold
   no record are removed. The public site keeps a night, with its grants, as long as the origin has it: the mirror may
   still have to write there.
6. A canary shows that the mirror works. After changes, and at each turn of the timetable, canaries warm the chain up.
7. Metrics and the log say until when nights are ready, and which are late.

A site that does not answer does not keep the other from its nights. Each step compares before it changes, so a round
that ends anywhere is finished by the next one, and another keeper does no harm. A topic is only removed while all
clocks agree and all brokers of the site are up.
"""

from zads.night_keeper.keeper import Keeper, Round

__all__ = ["Keeper", "Round"]
