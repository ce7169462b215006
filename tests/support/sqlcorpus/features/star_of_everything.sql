SELECT * FROM edges JOIN u ON u.k = edges.parent
