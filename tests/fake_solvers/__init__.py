"""Small programs that answer or misbehave in one way each, and a runner that drives them."""
