"""A night played through a deployed system, and the proof that it arrived.

The demo does only what the outside world does: it drops visits where the pipeline drops them, and reads as a subscriber
reads. Then it counts and digests the clusters' contents; every figure of its report comes from them.
"""
