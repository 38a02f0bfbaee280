"""What training minimises: pure functions of tensors. Nothing here imports another room."""
