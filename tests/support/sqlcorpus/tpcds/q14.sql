-- Items sold in all channels.
WITH cross_items AS (
    SELECT i_item_sk AS ss_item_sk
    FROM item, (
        SELECT iss.i_brand AS brand
        FROM store_sales, item iss WHERE ss_item_sk = iss.i_item_sk
        INTERSECT
        SELECT ics.i_brand FROM catalog_sales, item ics WHERE cs_item_sk = ics.i_item_sk
        INTERSECT
        SELECT iws.i_brand FROM web_sales, item iws WHERE ws_item_sk = iws.i_item_sk
    ) AS x
    WHERE i_brand = brand
),
avg_sales AS (
    SELECT avg(quantity * price) AS average_sales
    FROM (
        SELECT ss_quantity AS quantity, ss_sales_price AS price FROM store_sales
        UNION ALL
        SELECT cs_quantity, cs_ext_sales_price FROM catalog_sales
    ) AS x
)
SELECT channel, i_brand, sum(sales) AS sales, sum(number_sales) AS number_sales
FROM (
    SELECT 'store' AS channel, i_brand, sum(ss_quantity * ss_sales_price) AS sales, count(*) AS number_sales
    FROM store_sales, item
    WHERE ss_item_sk IN (SELECT ss_item_sk FROM cross_items) AND ss_item_sk = i_item_sk
    GROUP BY i_brand
    HAVING sum(ss_quantity * ss_sales_price) > (SELECT average_sales * 0.5 FROM avg_sales)
    UNION ALL
    SELECT 'catalog', i_brand, sum(cs_quantity * cs_ext_sales_price), count(*)
    FROM catalog_sales, item
    WHERE cs_item_sk IN (SELECT ss_item_sk FROM cross_items) AND cs_item_sk = i_item_sk
    GROUP BY i_brand
) AS y
GROUP BY ROLLUP (channel, i_brand)
