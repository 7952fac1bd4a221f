"""What an alert costs in bytes, processor time and memory: the measurements that a plan rests on, with their sources.

Processor times are CPU-milliseconds an alert of the deployed chain that runs flat out: three replicas, encrypted,
exactly once, packets of 2018, a night's topic of six partitions (docs/bench.md, "What bounds it on this machine").
Bytes are decimal (1 KB = 1000 bytes) on disks and wires, binary (1 MiB) in memory.
"""

from __future__ import annotations

from zads.site.sizes import GIB, MIB

#: The packets of 2018 with which the chain was measured. Source: docs/bench.md, "What was found".
PACKET_KB = 66.0
#: Bytes on a broker's disk for each byte of a packet: zstd over batches of whole packets. The packets of 2023 shrink
#: further, to 0.563. Source: docs/bench.md, "bytes on the disk" beside uncompressed.
STORED = 0.643
#: Bytes that a reader fetches for each byte of a batch: an answer cuts its last batch, which is fetched again. Source:
#: docs/bench.md, "Whole batches" (44 to 45 KB for 42.6).
FETCHED = 1.05

#: The origin's brokers, the mirror's reading included. Source: docs/bench.md, "What bounds it", the parts.
ORIGIN_MS = 1.03
#: The public site's brokers, with one subscriber and one group of a hundred filters. Source: the same.
PUBLIC_MS = 1.48
PRODUCER_MS = 0.65
MIRROR_MS = 0.47
#: What one more reader costs the brokers: a catch-up costs 0.30, of which half is the reader's own. Source:
#: docs/bench.md, "Catch-up".
READER_MS = 0.15
#: What one more worker costs all together, mostly the brokers: 3.9, 4.2 and 4.7 with one, two and four. Source:
#: docs/bench.md, "Growth", and "another 0.3 at the public brokers, for their transactions".
WORKER_MS = 0.3
#: What one more follower costs the brokers: half of what the fetchers of two cost. Source: docs/bench.md, the parts.
FOLLOWER_MS = 0.18
#: A worker's hundred filters, and each further owner, whose process decodes again. Source: docs/bench.md, the parts,
#: and the table of owners (72 µs with one, 288 with ten, 200 alerts a batch).
HUNDRED_FILTERS_MS = 0.21
OWNER_MS = 0.03
#: What each alert costs altogether by the night's partitions. Source: docs/bench.md, "Growth".
PARTITIONS, PARTITIONS_MS = (4, 6, 16, 64), (3.9, 4.2, 5.6, 6.4)
#: A machine has at least two: transactions cost however few alerts they have, 1.1 processors in all at 33 alerts/s.
#: Source: docs/bench.md, "Latency at 33/s".
LEAST_PROCESSORS = 2
#: Part of its processors and of its network that a machine may use at the peak. At half load the latency stays what it
#: is at a slow pace (docs/bench.md, "Latency at 333/s"), and without one of three brokers the other two have 75 %.
BUSY = 0.5

#: Alerts a second that pass through the producer's single thread, and through one task of the mirror. Source:
#: docs/bench.md, "On more cores".
THREAD_RATE = 2500
#: Alerts a second that one process decodes with fastavro.reader, as most users do: 1,132 packets of 2023 on one core of
#: the machine of docs/bench.md.
DECODED_RATE = 1100
#: The fewest partitions of a night's topic: those of the measured deployment (inventories/bench).
LEAST_PARTITIONS = 6
#: Replicas that a broker may hold, by the advice of Kafka's developers for clusters with ZooKeeper (4,000).
BROKER_REPLICAS = 4000
#: The size at which Kafka begins the next segment of a partition (log.segment.bytes). A segment keeps one file open,
#: its log: its indexes are mapped into memory.
SEGMENT_BYTES = 1 << 30
#: Replicas of Kafka's own topics, of the ledger, of the counts, of canaries and of the mirror, at a site and for each
#: copy: twice kafka_internal_partitions, the mirror's three topics, and some of one partition.
INTERNAL_PARTITIONS = 50

#: Heap that a TLS connection may cost a broker: its buffers of 17 KB each, and the engine. The listener for clients may
#: hold as many as fit into this part of the heap. Both bound a broker's connections (ansible/plugins/filter/bounds.py).
CONNECTION_HEAP, HEAP_PARTS = 128 * 1024, 8
#: The least heap of a broker in production; 512 MB carried the measured chain flat out (inventories/bench).
LEAST_HEAP = GIB
#: Resident memory of a daemon for each byte of its heap: 680 MB with 512 MB. Source: the chain's memory by process.
RESIDENT = 1.35
#: Resident memory of a mirror for each byte of its heap, under load, and the heap that was measured with one task.
#: Source: roles/mirrormaker/defaults/main.yml.
MIRROR_RESIDENT, MIRROR_TASK_HEAP = 2.75, 512 * MIB
#: The system and its daemons beside ours.
SYSTEM_MEMORY = GIB
#: What the producer keeps: two transactions of 32 MB, the client's queue of 256 MB, the program itself, and 32 MB for
#: each million alerts of the last eight days. Source: roles/producer/defaults/main.yml.
PRODUCER_MEMORY, PRODUCER_MILLION, PRODUCER_DAYS = 420 * MIB, 32 * MIB, 8
#: A worker, its sandbox, and the sandbox's process for each owner. Sources: docs/bench.md, memory over a million alerts
#: (192 MB) and ansible/plugins/filter/filter_workers.py.
WORKER_MEMORY, SANDBOX_MEMORY, OWNER_MEMORY = 192 * MIB, 192 * MIB, 64 * MIB
#: Members of an ensemble: one may be away.
MEMBERS = 3

#: How unevenly replicas lie on brokers and their disks: hashes of names, and partitions that are counted, not weighed.
UNEVEN = 1.2
#: The part of a disk that stays free: what `make verify` demands (verify_free_percent).
FREE = 0.10
#: How long a reader may be behind and still be served from memory: the page cache holds this much of the stream.
CACHED_SECONDS = 3600
#: In how many hours a subscriber who catches up reads a whole night.
CATCH_UP_HOURS = 2
