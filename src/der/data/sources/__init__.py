"""The data sources: every one yields its classes, one at a time, as uint8 arrays."""
