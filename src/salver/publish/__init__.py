"""Publishing an instance set: the folder to submit, its archive, and the receiver's check."""
