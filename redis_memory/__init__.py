"""redis_memory: the state of one conversation, shared by many workers through Redis."""
