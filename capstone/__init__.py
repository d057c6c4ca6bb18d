"""Programs on top of the course: a real language model that runs on your functions."""
