-- Stores in the cities of both kinds of customers.
SELECT s_store_name, sum(ss_net_profit)
FROM store_sales, store, (
    SELECT ca_state
    FROM (
        SELECT ca_state FROM customer_address WHERE ca_city IN ('A', 'B', 'AB', 'C')
        INTERSECT
        SELECT ca_state
        FROM (
            SELECT ca_state, count(*) AS cnt
            FROM customer_address, customer
            WHERE ca_address_sk = c_current_addr_sk
            GROUP BY ca_state
            HAVING count(*) >= 1
        ) a1
    ) a2
) v1
WHERE ss_store_sk = s_store_sk AND left(s_state, 1) = left(v1.ca_state, 1)
GROUP BY s_store_name
ORDER BY s_store_name
