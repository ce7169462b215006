-- Weekly sales of two channels, one year against the next.
WITH wscs AS (
    SELECT sold_date_sk, sales_price
    FROM (
        SELECT ws_sold_date_sk AS sold_date_sk, ws_ext_sales_price AS sales_price FROM web_sales
        UNION ALL
        SELECT cs_sold_date_sk, cs_ext_sales_price FROM catalog_sales
    ) AS x
),
wswscs AS (
    SELECT d_week_seq,
           sum(CASE WHEN d_dow = 1 THEN sales_price END) AS sun_sales,
           sum(CASE WHEN d_dow < 4 THEN sales_price END) AS early_sales,
           sum(CASE WHEN d_dow >= 4 THEN sales_price END) AS late_sales
    FROM wscs, date_dim
    WHERE d_date_sk = sold_date_sk
    GROUP BY d_week_seq
)
SELECT y.d_week_seq AS week_seq,
       round(y.early_sales / nullif(z.early_sales, 0), 2) AS early,
       round(y.late_sales / nullif(z.late_sales, 0), 2) AS late,
       y.sun_sales
FROM wswscs y, wswscs z
WHERE y.d_week_seq = z.d_week_seq - 1
ORDER BY week_seq
