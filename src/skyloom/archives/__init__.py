"""The outside world: one module a service (payload, parse), `http` for every outgoing request, `replies` for what came."""
