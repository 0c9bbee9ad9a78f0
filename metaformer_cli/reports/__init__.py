"""What people read of a comparison: lines for a terminal, and a page for a browser."""
