SELECT l.c, r.c AS other, l.a - r.a AS step FROM t l JOIN t r ON r.k = l.k AND r.id = l.id + 1
