"""What a deployment needs to come back, in one file that only the operators can read.

A backup has what exists nowhere else: the secrets, what each site's Kafka defines, the ensembles' data, and the
ledger. The alerts themselves are not in it. A lost public site gets them from the origin again. A lost origin gets
those that no site holds from the pipeline; the ledger keeps the others from being published twice
(`zads.backup.settled`).
"""
