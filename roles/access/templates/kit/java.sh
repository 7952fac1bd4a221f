#!/bin/sh
# Kafka's own console consumer with this kit's settings, from any directory: ./java.sh --topic TOPIC --group NAME-java
# It is looked for on PATH, or in $KAFKA_HOME/bin.
here=$(cd "$(dirname "$0")" && pwd)
brokers=$(sed -n 's/^bootstrap.servers=//p' "$here/librdkafka.properties")
exec "${KAFKA_HOME:+$KAFKA_HOME/bin/}kafka-console-consumer.sh" \
    --bootstrap-server "$brokers" --consumer.config "$here/java.properties" "$@"
