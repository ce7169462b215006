-- Potential part promotion.
SELECT s_name, s_address
FROM supplier, nation
WHERE s_suppkey IN (
      SELECT ps_suppkey
      FROM partsupp
      WHERE ps_partkey IN (SELECT p_partkey FROM part WHERE p_name LIKE '%A%')
        AND ps_availqty > (
            SELECT 0.5 * sum(l_quantity) / 10
            FROM lineitem
            WHERE l_partkey = ps_partkey AND l_suppkey = ps_suppkey
              AND l_shipdate >= date '2001-01-15'
        )
  )
  AND s_nationkey = n_nationkey
  AND n_name <> 'CA'
ORDER BY s_name
