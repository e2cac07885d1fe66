"""How two peers come to hold the same events: messages and sessions without a socket."""
