SELECT u.row_to_json AS whole, (arr).cardinality AS n FROM u JOIN t USING (id)
