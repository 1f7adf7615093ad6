"""The leaderboard: many reports as one table, and the table as a static site."""
