-- Averages with subtotals at each place.
SELECT ca_state, ca_city, i_item_id,
       avg(cs_quantity) AS agg1,
       avg(cs_net_profit) AS agg2,
       grouping(ca_state, ca_city, i_item_id) AS lochierarchy
FROM catalog_sales
JOIN customer ON cs_bill_customer_sk = c_customer_sk
JOIN customer_address ON c_current_addr_sk = ca_address_sk
JOIN item ON cs_item_sk = i_item_sk
WHERE c_birth_year < 7
GROUP BY CUBE (ca_state, ca_city), i_item_id
