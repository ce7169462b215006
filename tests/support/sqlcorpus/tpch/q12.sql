-- Shipping modes and order priority.
SELECT l_shipmode,
       sum(CASE WHEN o_orderpriority = 'A' OR o_orderpriority = 'B' THEN 1 ELSE 0 END) AS high_line_count,
       sum(CASE WHEN o_orderpriority <> 'A' AND o_orderpriority <> 'B' THEN 1 ELSE 0 END) AS low_line_count
FROM orders, lineitem
WHERE o_orderkey = l_orderkey
  AND l_shipmode IN ('A', 'B', 'C', 'AB')
  AND l_commitdate < l_receiptdate
  AND l_receiptdate >= date '2001-01-01'
GROUP BY l_shipmode
ORDER BY l_shipmode
