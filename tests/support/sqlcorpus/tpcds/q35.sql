-- Statistics of customers, by derived keys.
SELECT ca_state, cd_gender, count(*) AS cnt, max(c_birth_year) AS youngest, avg(c_birth_year) AS mean,
       stddev_samp(c_birth_year) AS deviation
FROM customer c, customer_address ca, customer_demographics
WHERE c.c_current_addr_sk = ca.ca_address_sk AND cd_demo_sk = c.c_current_cdemo_sk
  AND c.c_customer_sk = ANY (SELECT ss_customer_sk FROM store_sales)
GROUP BY ca_state, cd_gender
