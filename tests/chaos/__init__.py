"""What goes wrong in the field, done to a gateway on purpose: real sockets, many callers, providers that fail."""
