"""The words that every tool shares: tasks, images, regions, models, requests, results, errors."""
