"""What people, or the gold labeller in their place, say of answers; and rewards made of it."""
