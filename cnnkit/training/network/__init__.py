"""What is done to a network before its first step."""
