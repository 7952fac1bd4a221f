"""Samples of alerts for testers: each is a topic of its own, so that no night and no reader of nights sees it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from pydantic import Field

from zads import names
from zads.site.entry import Entry, Problem, Site
from zads.site.people import User


class Sample(Entry):
    """A sample: the programmes of which it may hold packets, and the users who may read it, at a site."""

    name: str = Field(pattern=names.FILTER_NAME, description=names.FILTER_NAME_IN_WORDS)
    site: Site = Field(description="origin or public")
    programmes: frozenset[int] = Field(min_length=1, description="a list of programmes' numbers, such as [1]")
    readers: tuple[str, ...] = Field(default=(), description="a list of users of the site, such as [tester]")
    days: float = Field(default=30, gt=0, le=3650, description="a number of days above 0, such as 30")

    @property
    def topic(self) -> str:
        """The name of its topic."""
        return names.sample_topic(self.name)


def wrong(samples: Iterable[Sample], users: Mapping[str, User | None], public: Collection[int]) -> Iterator[Problem]:
    """What is wrong with the readers of samples. ``public``: the programmes that may be at the public site.

    A sample of another programme is only for users who may read that programme.
    """
    for sample in samples:
        place = f"samples.{sample.name}.readers"
        kept = sample.programmes - set(public)
        for reader in sample.readers:
            user = users.get(reader)
            if reader not in users or (user is not None and user.site != sample.site):
                yield Problem(place, f"{reader!r} is not a user of the site {sample.site}: write the name of one")
            elif user is not None and (hidden := sorted(kept - user.programmes)):
                yield Problem(
                    place, f"{reader} may not read programme {hidden[0]}: leave them out, or change users.{reader}"
                )
