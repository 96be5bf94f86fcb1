"""What runs the stack in containers, and proves that it runs. Nothing here is imported by the library."""
