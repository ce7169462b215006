SELECT id, arr[:k] AS head, arr[k:] AS tail, arr[: k - 1] AS body, arr[id:][:k] AS middle,
    CASE WHEN arr[:a] = '{1}' THEN b END AS chosen
FROM t
