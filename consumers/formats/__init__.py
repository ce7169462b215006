"""Pure decoders from message bytes to source events, shared by all consumers.

Each format is a module of its own: `knockon` and `cloudevents`, whose messages use names of
Knockon; and the bound formats `debezium` (with `debezium_rows`), `record`, `s3` and `openlineage`,
whose messages the DAG file binds to datasets (`binding`). `format` lists them by name.

For all formats: `reading` applies the format of a stream to deliveries, `bounds` limits the events,
and `body` parses JSON.

Helpers of bound formats, from the message to the partition: `confluent` and `connect` read declared
schemas, `rows` decodes the needed fields, `ambiguous_values` recognizes nulls written as defaults,
`placeholders` values left out by an update, `hive` decodes directory names, and `keys`, `moments`
and `windows` give the partition key of a value.
"""
