-- Ranks within a hierarchy of subtotals.
SELECT sum(ss_net_profit) / nullif(sum(ss_ext_sales_price), 0) AS gross_margin,
       i_category,
       i_class,
       grouping(i_category) + grouping(i_class) AS lochierarchy,
       rank() OVER (
           PARTITION BY grouping(i_category) + grouping(i_class),
               CASE WHEN grouping(i_class) = 0 THEN i_category END
           ORDER BY sum(ss_net_profit) / nullif(sum(ss_ext_sales_price), 0) ASC
       ) AS rank_within_parent
FROM store_sales, item, store
WHERE i_item_sk = ss_item_sk AND s_store_sk = ss_store_sk AND s_state < 'C'
GROUP BY ROLLUP (i_category, i_class)
