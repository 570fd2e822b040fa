"""What the page is drawn with: charts, colours, markup, tables."""
