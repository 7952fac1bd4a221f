"""The sources of packets: a spool that a pipeline fills, directories and archives, a topic, the simulator."""
