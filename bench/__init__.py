"""`make bench`: figures of ours beside those of peers."""

#: The groups of rows, in the order in which they run: module, what it measures, and about how long that takes.
GROUPS = {
    "packets": "packets in memory, beside what users write (2 minutes)",
    "scaling": "cost of an alert by number of filters and size of packets (2 minutes)",
    "memory": "memory of producer and worker over a million alerts, through a broker (10 minutes)",
    "floor": "the least that an alert of the chain can cost, without brokers (a minute)",
    "chain": "the deployed chain in containers, beside others' shape of it (an hour; options: see bench/chain.py)",
}
