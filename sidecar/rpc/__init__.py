"""JSON-RPC over stdio: messages, the methods, the server, and what waits to be sent."""
