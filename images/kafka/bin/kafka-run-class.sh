#!/bin/sh
# Run a class of this distribution: kafka-run-class.sh CLASS [arguments]. The names beside this file are links to it:
# each runs the class that Apache's script of that name runs.
# KAFKA_HEAP_OPTS, KAFKA_OPTS, KAFKA_LOG4J_OPTS and JAVA_HOME have the meaning that they have there.
set -eu
home=$(cd "$(dirname "$(readlink -f "$0")")/.." && pwd)
case $(basename "$0") in
    kafka-run-class.sh) class=${1:?usage: kafka-run-class.sh CLASS [arguments]}; shift ;;
    kafka-server-start.sh) class=kafka.Kafka ;;
    zookeeper-server-start.sh) class=org.apache.zookeeper.server.quorum.QuorumPeerMain ;;
    zookeeper-shell.sh) class=org.apache.zookeeper.ZooKeeperMainWithTlsSupportForKafka; set -- -server "$@" ;;
    connect-mirror-maker.sh) class=org.apache.kafka.connect.mirror.MirrorMaker ;;
    kafka-topics.sh) class=org.apache.kafka.tools.TopicCommand ;;
    kafka-configs.sh) class=kafka.admin.ConfigCommand ;;
    kafka-acls.sh) class=kafka.admin.AclCommand ;;
    kafka-consumer-groups.sh) class=org.apache.kafka.tools.consumer.group.ConsumerGroupCommand ;;
    kafka-console-consumer.sh) class=org.apache.kafka.tools.consumer.ConsoleConsumer ;;
    kafka-console-producer.sh)
        class=org.apache.kafka.tools.ConsoleProducer
        # It had another name before 3.9.
        for jar in "$home"/libs/kafka_2.13-3.[0-8].*.jar; do [ ! -e "$jar" ] || class=kafka.tools.ConsoleProducer; done ;;
    kafka-leader-election.sh) class=org.apache.kafka.tools.LeaderElectionCommand ;;
    kafka-reassign-partitions.sh) class=org.apache.kafka.tools.reassign.ReassignPartitionsCommand ;;
    kafka-broker-api-versions.sh) class=kafka.admin.BrokerApiVersionsCommand ;;
    kafka-transactions.sh) class=org.apache.kafka.tools.TransactionsCommand ;;
    kafka-get-offsets.sh) class=org.apache.kafka.tools.GetOffsetShell ;;
    kafka-dump-log.sh) class=kafka.tools.DumpLogSegments ;;
    kafka-log-dirs.sh) class=org.apache.kafka.tools.LogDirsCommand ;;
    *) echo "$0: no class is known for this name" >&2; exit 2 ;;
esac
java=${JAVA_HOME:+$JAVA_HOME/bin/}java
# Options are words of their own on purpose.
# shellcheck disable=SC2086
exec "$java" ${KAFKA_HEAP_OPTS:--Xmx256m} ${KAFKA_JVM_PERFORMANCE_OPTS:--XX:+UseG1GC} ${KAFKA_OPTS:-} \
    ${KAFKA_LOG4J_OPTS:--Dlog4j.configuration=file:$home/config/tools-log4j.properties} \
    -cp "$home/libs/*" "$class" "$@"
