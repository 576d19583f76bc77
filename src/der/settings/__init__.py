"""Every knob as frozen, checked data: one module for each section of params.yaml.

The classes know nothing of YAML or files.
"""
