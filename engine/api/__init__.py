"""What people and programs ask: views as plain values, one a module.

`status`, `tasks`, `plans`, `invalidations` and `dead_letters` list; `impact` looks ahead, and keeps
what it shows as a proposed plan; `explain_task` and `explain_partition` look back; `lineage_tree`
shows what is made from what; `progress` follows a wave. Each takes a connection and a `Scene`,
writes nothing else, and gives frozen dataclasses that `msgspec.to_builtins` turns into JSON.
"""
