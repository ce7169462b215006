-- Some tables of TPC-DS, with the columns that the queries' shapes need.
CREATE TABLE date_dim (
    d_date_sk int, d_date date, d_year int, d_moy int, d_qoy int, d_dow int, d_week_seq int
);
CREATE TABLE item (
    i_item_sk int, i_item_id text, i_brand text, i_class text, i_category text, i_manager_id int,
    i_current_price numeric
);
CREATE TABLE customer (
    c_customer_sk int, c_customer_id text, c_current_addr_sk int, c_current_cdemo_sk int,
    c_first_name text, c_last_name text, c_birth_year int
);
CREATE TABLE customer_address (ca_address_sk int, ca_state text, ca_city text, ca_gmt_offset int);
CREATE TABLE customer_demographics (
    cd_demo_sk int, cd_gender text, cd_marital_status text, cd_education_status text
);
CREATE TABLE store (s_store_sk int, s_store_id text, s_store_name text, s_state text, s_market_id int);
CREATE TABLE promotion (p_promo_sk int, p_channel_email text, p_channel_event text);
CREATE TABLE warehouse (w_warehouse_sk int, w_warehouse_name text, w_state text);
CREATE TABLE inventory (
    inv_date_sk int, inv_item_sk int, inv_warehouse_sk int, inv_quantity_on_hand int
);
CREATE TABLE store_sales (
    ss_sold_date_sk int, ss_item_sk int, ss_customer_sk int, ss_cdemo_sk int, ss_addr_sk int,
    ss_store_sk int, ss_promo_sk int, ss_ticket_number int, ss_quantity int, ss_sales_price numeric,
    ss_ext_sales_price numeric, ss_net_profit numeric, ss_coupon_amt numeric
);
CREATE TABLE store_returns (
    sr_returned_date_sk int, sr_item_sk int, sr_customer_sk int, sr_store_sk int,
    sr_ticket_number int, sr_return_quantity int, sr_return_amt numeric, sr_net_loss numeric
);
CREATE TABLE catalog_sales (
    cs_sold_date_sk int, cs_item_sk int, cs_bill_customer_sk int, cs_warehouse_sk int,
    cs_order_number int, cs_quantity int, cs_ext_sales_price numeric, cs_net_profit numeric
);
CREATE TABLE web_sales (
    ws_sold_date_sk int, ws_item_sk int, ws_bill_customer_sk int, ws_warehouse_sk int,
    ws_order_number int, ws_quantity int, ws_ext_sales_price numeric, ws_net_profit numeric
);
