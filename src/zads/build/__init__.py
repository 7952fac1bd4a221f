"""What a deployment brings to hosts: container images and the Kafka distribution, built from what the repository pins.

An image's tag is a hash of its inputs: the files it is made of, its build arguments and its parent's tag. An image that
exists is therefore up to date. No registry takes part: every image starts from a Debian root that ``mmdebstrap`` makes.

Why not buildx, bake or compose: they are plug-ins that Debian's engine does not have; they start from an image of a
registry; and the tag would not follow from the inputs, although a deployment compares tags to see what has changed.
"""
