-- Orders shipped from several warehouses.
SELECT count(DISTINCT cs_order_number) AS order_count,
       sum(cs_ext_sales_price) AS total_sales,
       sum(cs_net_profit) AS total_profit
FROM catalog_sales cs1
WHERE EXISTS (
      SELECT * FROM catalog_sales cs2
      WHERE cs1.cs_order_number = cs2.cs_order_number
        AND cs1.cs_warehouse_sk <> cs2.cs_warehouse_sk
  )
  AND NOT EXISTS (
      SELECT * FROM store_returns WHERE cs1.cs_order_number = sr_ticket_number AND sr_return_quantity > 6
  )
