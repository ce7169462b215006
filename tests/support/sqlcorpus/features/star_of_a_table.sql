SELECT u.*, t.c FROM u JOIN t ON t.id = u.id
