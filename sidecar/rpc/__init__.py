"""JSON-RPC over stdio: lines and bytes, the methods, the server. Only `stdio` touches fds 0, 1 and 2."""
