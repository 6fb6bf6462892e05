"""The wire: the frames that clients and server exchange, and how the server parses and encodes them."""
