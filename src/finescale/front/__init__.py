"""What Python's users open first: a study as an object, over both wings."""
