-- Demographics of customers who bought through several channels.
SELECT cd_gender, cd_marital_status, count(*) AS cnt1, min(cd_education_status) AS education
FROM customer c
JOIN customer_demographics ON cd_demo_sk = c.c_current_cdemo_sk
WHERE EXISTS (
      SELECT * FROM store_sales, date_dim
      WHERE c.c_customer_sk = ss_customer_sk AND ss_sold_date_sk = d_date_sk AND d_year < 7
  )
  AND (
      EXISTS (SELECT * FROM web_sales WHERE c.c_customer_sk = ws_bill_customer_sk)
      OR EXISTS (SELECT * FROM catalog_sales WHERE c.c_customer_sk = cs_bill_customer_sk)
  )
GROUP BY cd_gender, cd_marital_status
ORDER BY cd_gender, cd_marital_status
