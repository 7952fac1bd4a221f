"""From the spool to the origin topics: every packet once, whatever dies in between.

An exposure is published in transactions of at most `intake.CHUNK_PACKETS` packets. Each transaction also writes to the
ledger (the compacted topic ``zads_ledger``, see `zads.ledger`): how far the exposure has been read, and which alerts
were published. So the packets and the knowledge that they were published become visible together or not at all:

1. `init_transactions` ends whatever a predecessor of the same name left open, and fences it;
2. the ledger is read to its end, which open transactions of other producers may hold back for a while: nothing can be
   added to it under this name from now on;
3. an exposure is looked through: an archive is whole, an exposure with a marker is what that lists;
4. its files are read in their order; those that the ledger covers are only compared with its digest;
5. each chunk is validated (while the one before it is on its way), then published with its ledger records in one
   transaction; an aborted one is tried again. The last one says "complete" only if the exposure has not changed;
6. the exposure moves to done/, unless it has changed, and its receipt is written: dying here repeats 3 to 6 and
   publishes nothing.

Bytes that are on their night's topic are not published again, whichever exposure they come in. Other bytes under the
same candid are published (the survey does process exposures again), with the header ``version``. A second delivery
under one name is a continuation: what it adds is published. Within one exposure a candid is there once.

What cannot be settled is set aside, and the exposures behind it go on: deferred while a topic is missing (with all of
the same night behind it, so that an object's alerts keep their order), looked at again while it is unfinished, kept in
the spool with an error in the log when nothing else is known. A full or read-only disk is waited for.
"""

from zads.producer.loop import Producer
from zads.producer.publisher import ProducerError

__all__ = ["Producer", "ProducerError"]
