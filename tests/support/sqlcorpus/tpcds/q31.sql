-- Growth of two channels by state, one CTE read many times.
WITH ss AS (
    SELECT ca_state, d_qoy, sum(ss_ext_sales_price) AS store_sales
    FROM store_sales, date_dim, customer_address
    WHERE ss_sold_date_sk = d_date_sk AND ss_addr_sk = ca_address_sk
    GROUP BY ca_state, d_qoy
)
SELECT ss1.ca_state, ss1.d_qoy,
       ss2.store_sales / nullif(ss1.store_sales, 0) AS growth_1,
       ss3.store_sales / nullif(ss2.store_sales, 0) AS growth_2
FROM ss ss1
JOIN ss ss2 ON ss2.ca_state = ss1.ca_state AND ss2.d_qoy = ss1.d_qoy + 1
LEFT JOIN ss ss3 ON ss3.ca_state = ss1.ca_state AND ss3.d_qoy = ss1.d_qoy + 2
