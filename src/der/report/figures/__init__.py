"""The page's figures: drawings in its colours, matrices as small pictures, data for its script."""
