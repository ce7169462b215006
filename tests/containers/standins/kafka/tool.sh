#!/usr/bin/env bash
# The command-line tools of Kafka that the compose scenario and the documentation use.
case "$(basename "$0")" in
  kafka-configs.sh) main=kafka.admin.ConfigCommand ;;
  kafka-console-producer.sh) main=org.apache.kafka.tools.ConsoleProducer ;;
  kafka-topics.sh) main=org.apache.kafka.tools.TopicCommand ;;
esac
exec java -Xmx128m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xlog:disable \
  -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp '/opt/kafka/libs/*' "$main" "$@"
