SELECT int4range(k, k + abs(a)) @> b AS within, arr && ARRAY[k, a] AS some, doc ? c AS has,
    c ~* '^a' AS matches, (day, day + k) OVERLAPS (day + a, day + b) AS meets,
    trim(BOTH 'A' FROM c) AS trimmed, position(c IN 'ABCA') AS at, k IS DISTINCT FROM a AS differ
FROM t
