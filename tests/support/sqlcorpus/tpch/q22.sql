-- Global sales opportunity.
SELECT cntrycode, count(*) AS numcust, sum(c_acctbal) AS totacctbal
FROM (
    SELECT substring(c_phone FROM 1 FOR 1) AS cntrycode, c_acctbal
    FROM customer
    WHERE substring(c_phone FROM 1 FOR 1) IN ('A', 'B')
      AND c_acctbal > (
          SELECT 0.5 * avg(c_acctbal) FROM customer
          WHERE c_acctbal > 0.00 AND substring(c_phone FROM 1 FOR 1) IN ('A', 'B')
      )
      AND NOT EXISTS (SELECT * FROM orders WHERE o_custkey = c_custkey AND o_totalprice > 18)
) AS custsale
GROUP BY cntrycode
ORDER BY cntrycode
