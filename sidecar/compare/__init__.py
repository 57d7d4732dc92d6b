"""Two policies side by side: what differs in meaning, and what that does to requests. Offline, without a key."""
