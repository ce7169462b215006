SELECT k, (SELECT x FROM u WHERE u.k = t.k ORDER BY z, id, x LIMIT 1) AS first, b FROM t
