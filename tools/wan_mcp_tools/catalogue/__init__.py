"""What can be ordered: models, regions, sizes and prices, as data."""
