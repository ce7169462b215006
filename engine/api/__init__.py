"""What people and programs ask: read-only views as plain values, one a module.

`status`, `tasks`, `invalidations` and `dead_letters` list; `impact` looks ahead; `explain_task` and
`explain_partition` look back; `lineage_tree` shows what is made from what; `progress` follows a
wave. Each takes a connection and a `Scene`, writes nothing, and gives frozen dataclasses that
`msgspec.to_builtins` turns into JSON.
"""
