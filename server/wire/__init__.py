"""What is spoken with clients: frames, and how they are read and written."""
