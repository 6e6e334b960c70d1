"""HTTP/1.1 client connections of our own: callbacks, no task and no timer for a call."""
