"""The library's classifier: the functions of the stages on arrays, without files and parameters in YAML."""
