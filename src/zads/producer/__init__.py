"""From the spool to the origin topics: every packet once, even if a process or a machine dies.

An exposure is published in transactions of at most `intake.CHUNK_PACKETS` packets. Each transaction also writes to the
ledger (the compacted topic ``zads_ledger``, see `zads.ledger`) how far the exposure has been read and which alerts
were published. So the packets and the record of their publication become visible together or not at all:

1. `init_transactions` ends any transaction that a predecessor of the same name left open, and fences the predecessor.
2. The ledger is read to its end. Open transactions of other producers may delay that end for a while. From now on no
   predecessor of this name can add to the ledger.
3. An exposure is checked: an archive must be whole, and an exposure with a marker must match the marker's list.
4. Its files are read in order. Files that the ledger covers are only compared with the ledger's digest.
5. Each chunk is validated while the previous one is being published. Then it is published with its ledger records in
   one transaction; an aborted transaction is tried again. The last one says "complete" only if the exposure has not
   changed.
6. The exposure moves to done/, unless it has changed, and its receipt is written. A producer that dies here repeats
   steps 3 to 6 and publishes nothing.

Bytes that are on their night's topic are not published again, even if they come in another exposure. Other bytes under
the same candid are published with the header ``version``, since the survey does process exposures again. A second
delivery under the same name is a continuation: only what it adds is published. An exposure has each candid once.

An exposure that cannot be settled is set aside, and the next ones continue. If a topic is missing, the exposure waits
together with all later ones of the same night, so that an object's alerts keep their order. A packet that is dated more
than a year ahead, to a night without topics, would delay the other nights of its exposure: it is refused. An unfinished
exposure is looked at again. If the cause is unknown, the exposure stays in the spool and the log has an error. If the
disk is full or read-only, the producer waits.
"""

from zads.producer.loop import Producer
from zads.producer.publisher import ProducerError

__all__ = ["Producer", "ProducerError"]
