"""A first configuration for this host: survey the host, and make the files that fit it. Writes no file of nginx's."""
