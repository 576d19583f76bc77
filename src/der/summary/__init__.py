"""What the metrics of the single steps say together: numbers, tables and plots."""
