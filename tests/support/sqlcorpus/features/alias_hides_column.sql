-- WHERE means the column b, ORDER BY the alias b.
SELECT a AS b, c FROM t WHERE b > 2 ORDER BY b
