-- Parts/supplier relationship.
SELECT p_brand, p_type, p_size, count(DISTINCT ps_suppkey) AS supplier_cnt
FROM partsupp, part
WHERE p_partkey = ps_partkey
  AND p_brand <> 'AB'
  AND p_type NOT LIKE 'C%'
  AND p_size IN (1, 2, 3, 4, 5, 6)
  AND ps_suppkey NOT IN (
      SELECT s_suppkey FROM supplier WHERE s_comment LIKE '%A%B%' AND s_suppkey IS NOT NULL
  )
GROUP BY p_brand, p_type, p_size
ORDER BY supplier_cnt DESC, p_brand, p_type, p_size
