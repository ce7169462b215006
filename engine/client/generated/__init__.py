"""Methods of the clients, generated from the routes by `make reference`."""
