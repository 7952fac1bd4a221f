#!/bin/sh
# Kafka's own console consumer with this kit's settings, from any directory: ./java.sh --topic TOPIC --group NAME-java
# The script looks for it in $KAFKA_HOME/bin if that is set, else on PATH.
here=$(cd "$(dirname "$0")" && pwd)
brokers=$(sed -n 's/^bootstrap.servers=//p' "$here/librdkafka.properties")
exec "${KAFKA_HOME:+$KAFKA_HOME/bin/}kafka-console-consumer.sh" \
    --bootstrap-server "$brokers" --consumer.config "$here/java.properties" "$@"
