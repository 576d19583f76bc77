"""What the metrics of the single steps say together: numbers and tables."""
