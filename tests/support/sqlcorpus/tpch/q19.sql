-- Discounted revenue.
SELECT sum(l_extendedprice * (1 - l_discount)) AS revenue
FROM lineitem, part
WHERE (
      p_partkey = l_partkey
      AND p_brand IN ('A', 'B')
      AND l_quantity >= 1 AND l_quantity <= 1 + 4
      AND p_size BETWEEN 1 AND 5
      AND l_shipmode IN ('A', 'AB')
  )
   OR (
      p_partkey = l_partkey
      AND p_container IN ('BC', 'CA', 'C')
      AND l_quantity >= 2
      AND l_shipinstruct <> 'CA'
  )
