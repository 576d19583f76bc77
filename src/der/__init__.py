"""Dynamically Expandable Representation for class-incremental learning (Yan, Xie, He, CVPR 2021)."""
