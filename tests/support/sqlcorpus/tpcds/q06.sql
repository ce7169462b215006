-- States with customers who buy what costs more than its category.
SELECT a.ca_state AS state, count(*) AS cnt
FROM customer_address a, customer c, store_sales s, item i
WHERE a.ca_address_sk = c.c_current_addr_sk
  AND c.c_customer_sk = s.ss_customer_sk
  AND s.ss_item_sk = i.i_item_sk
  AND i.i_current_price > 0.8 * (
      SELECT avg(j.i_current_price) FROM item j WHERE j.i_category = i.i_category
  )
GROUP BY a.ca_state
HAVING count(*) >= 1
ORDER BY cnt, a.ca_state
