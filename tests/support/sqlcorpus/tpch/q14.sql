-- Promotion effect.
SELECT 100.00 * sum(CASE WHEN p_type LIKE 'A%' THEN l_extendedprice * (1 - l_discount) ELSE 0 END)
       / nullif(sum(l_extendedprice * (1 - l_discount)), 0) AS promo_revenue
FROM lineitem, part
WHERE l_partkey = p_partkey
  AND l_shipdate >= date '2001-02-01'
  AND l_shipdate < date '2001-02-01' + interval '8' month
