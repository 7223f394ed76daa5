"""The leaderboard page: one HTML file that holds all it shows."""
