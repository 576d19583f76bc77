"""What people look at: charts as PNG files, and a finished run as one HTML page that needs no network."""
