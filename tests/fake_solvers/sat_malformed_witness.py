"""Answers sat with a witness that is cut off and holds a word for a number."""

print("sat")
print("((X_0 one half)\n (X_1 0.")
