SELECT a AS one, b AS two FROM t UNION ALL (SELECT x, k FROM u WHERE z > 4) UNION ALL SELECT weight, parent FROM edges
