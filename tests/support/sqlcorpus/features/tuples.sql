SELECT c, b FROM t WHERE (k, a) IN (SELECT k, x FROM u WHERE y <> 'C') OR (a, b) < (2, 3)
