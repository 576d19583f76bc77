"""What each figure shows, as data; what draws it, a PNG or the page, adds nothing to that."""
