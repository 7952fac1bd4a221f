"""The nightly audit, which runs by itself: whether each alert that the pipeline delivered went through every hop once.

A round, of which there is one every few minutes:

1. The data policy is read, and both sites are asked how far the nights' topics reach.
2. A night is due when it is over, nothing has arrived for a while, and it has more records than at its last audit (or
   was never audited). One that was not whole is audited again, at growing distances: a mirror may have been behind.
3. The night is read from both sites: its topics, the ledger, the filters' counts, what the filters passed of it. If
   this host has the pipeline's receipts, these too (`zads.auditor.evidence`).
4. What contradicts a promise is found by pure functions (`zads.audit.differences`, `zads.auditor.findings`):

   receipts   what a receipt says was published, the ledger has
   ledger     what the ledger has, the origin has, with these bytes, once; and nothing else
   mirror     origin and public have the same, of the programmes that the data policy puts there
   filters    each alert at public that a filter was to see, it has seen once; what it passed is in its topic, as it was

5. The result is written: a JSON file, a page, metrics, the log, and if wanted a mail.

Audits only read. A round that ends anywhere is done again by the next one, and another auditor does no harm. A night
can be audited as long as no record of it has expired. Its last result is kept afterwards.
"""
