SELECT c, b FROM t
WHERE a NOT IN (SELECT x FROM u WHERE x IS NOT NULL AND z > 15)
  AND b >= ALL (SELECT weight FROM edges WHERE label = 'AB' AND parent > 6)
