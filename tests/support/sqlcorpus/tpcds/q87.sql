-- Customers of one channel and not of the others.
SELECT c_last_name, c_first_name
FROM store_sales JOIN customer ON ss_customer_sk = c_customer_sk
WHERE ss_quantity > 1
EXCEPT
SELECT c_last_name, c_first_name
FROM catalog_sales JOIN customer ON cs_bill_customer_sk = c_customer_sk
WHERE cs_quantity > 5
