"""`make bench`: rows of figures beside peers. The groups of rows, in the order in which they run."""

#: ROWS=NAME chooses groups: each is the module of that name here. What it measures, and roughly how long it takes.
GROUPS = {
    "packets": "packets in memory, beside what users write (2 minutes)",
    "scaling": "cost of an alert by number of filters and size of packets (2 minutes)",
    "memory": "memory of producer and worker over a million alerts, through a broker (10 minutes)",
    "chain": "the deployed chain in containers, beside others' shape of it (an hour; options: see bench/chain.py)",
}
