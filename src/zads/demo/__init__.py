"""A night played through a deployed system, and the proof that it arrived.

The demo does what the outside world does and no more: it drops visits where the pipeline drops them and reads as a
subscriber reads. Then it counts and digests what the clusters hold; every figure of its report comes from them.
"""
