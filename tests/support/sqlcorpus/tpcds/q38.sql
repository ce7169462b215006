-- Customers of all three channels.
SELECT count(*)
FROM (
    SELECT DISTINCT c_last_name, c_first_name, d_moy
    FROM store_sales, date_dim, customer
    WHERE ss_sold_date_sk = d_date_sk AND ss_customer_sk = c_customer_sk
    INTERSECT
    SELECT DISTINCT c_last_name, c_first_name, d_moy
    FROM catalog_sales, date_dim, customer
    WHERE cs_sold_date_sk = d_date_sk AND cs_bill_customer_sk = c_customer_sk
) AS hot_cust
