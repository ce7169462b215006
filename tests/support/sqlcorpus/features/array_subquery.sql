SELECT k, ARRAY(SELECT x FROM u WHERE u.k = t.k ORDER BY z, x) AS xs, a FROM t
