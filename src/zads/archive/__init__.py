"""Nights as archives: a tar.gz for each night and programme, with a file for each alert.

An archive is made in these steps (`zads.archive.making`), each of which can be interrupted and repeated:

1. The end of each partition of the night's topic is asked for. What comes later is for the next version.
2. The records before these ends are read, and their packets written to a file without a name, the *shelf*. If there is
   an archive of the night already, its packets are put there too: Kafka may not have all of them any more.
3. The packets are written to an archive under a temporary name, in the order of their candids. The file is synced.
4. The archive is read back from the disk, and each packet compared with the digest that it had when it was read.
5. When all programmes of the night have come so far, the night must be whole: what the archives hold is what the ledger
   says of the night, and the public site has the same records as the origin.
6. The archives get their names, and the index is written.
"""
