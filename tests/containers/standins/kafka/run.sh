#!/usr/bin/env bash
# Write KAFKA_* variables as server.properties, format the data directory once, and serve.
# In a variable's name ___ stands for -, __ for _, and _ for a dot.
set -euo pipefail
properties=/opt/kafka/config/server.properties
env | grep '^KAFKA_' | grep -v '^KAFKA_\(HEAP_OPTS\|OPTS\)=' | while IFS='=' read -r name value; do
  name=$(sed 's/^KAFKA_//; s/___/-/g; s/__/%/g; s/_/./g; s/%/_/g' <<< "$name")
  printf '%s=%s\n' "${name,,}" "$value"
done > "$properties"
java=(java -Xmx384m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xlog:disable -cp '/opt/kafka/libs/*')
"${java[@]}" kafka.tools.StorageTool format --ignore-formatted \
  --cluster-id "${CLUSTER_ID:-5L6g3nShT-eMCtK--X86sw}" --config "$properties"
exec "${java[@]}" kafka.Kafka "$properties"
