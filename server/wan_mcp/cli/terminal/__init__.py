"""What a person reads at a terminal: lines, tasks, progress and pictures. Commands write through it."""
