"""The survey changes its schema: what is different, who notices, how it becomes known, and what was refused meanwhile.

samples.py     the schemas that are found in packets and in .avsc files
change.py      one schema beside the nearest known form
readers.py     who reads which fields, and what a change means to them
addition.py    a schema becomes a known form: a file in schemas/ztf
rehearsal.py   what validation and filters would do with packets of the new form, while nothing is touched
conversion.py  known packets in a new form, for a rehearsal
retry.py       what the producer refused for its schema is delivered again, once
"""
