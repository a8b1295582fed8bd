"""nginx's configuration language: parser, includes, quoting, unique names, routes, semantic diff."""
