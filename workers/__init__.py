"""The runnable stack: the app of the image, its settings and its tasks."""
