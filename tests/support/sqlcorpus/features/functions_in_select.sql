SELECT k, unnest(arr) AS element, c FROM t
