"""Builds what a deployment brings to hosts: container images and the Kafka distribution, from pinned inputs.

An image's tag is a hash of its inputs: the files it is made of, its build arguments and its parent's tag. An image that
exists is therefore up to date. No registry takes part: every image starts from a Debian root that ``mmdebstrap`` makes.

buildx, bake and compose are not used: they are plug-ins that Debian's engine does not have, and they start from an
image of a registry. With them the tag would not follow from the inputs, and a deployment compares tags to see what has
changed.
"""
