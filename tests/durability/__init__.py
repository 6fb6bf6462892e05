"""What is left after the power fails, the disk is full, a page is damaged, or a start is cut short."""
