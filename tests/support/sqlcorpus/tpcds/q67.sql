-- The best of each category, out of all subtotals.
SELECT *
FROM (
    SELECT i_category, i_class, d_year, s_store_id, sumsales,
           rank() OVER (PARTITION BY i_category ORDER BY sumsales DESC) AS rk
    FROM (
        SELECT i_category, i_class, d_year, s_store_id,
               sum(coalesce(ss_sales_price * ss_quantity, 0)) AS sumsales
        FROM store_sales, date_dim, store, item
        WHERE ss_sold_date_sk = d_date_sk AND ss_item_sk = i_item_sk AND ss_store_sk = s_store_sk
        GROUP BY ROLLUP (i_category, i_class, d_year, s_store_id)
    ) dw1
) dw2
WHERE rk <= 3
