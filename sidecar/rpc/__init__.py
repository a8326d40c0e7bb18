"""JSON-RPC over stdio: lines and bytes, the methods, the server. `stdio` claims fds 0, 1 and 2."""
