"""Images: where they come from, and which step they belong to."""
