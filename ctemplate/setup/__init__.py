"""A first configuration for this host: what is here, and the files that fit it. Writes nothing of nginx's."""
