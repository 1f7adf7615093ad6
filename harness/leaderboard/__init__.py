"""Reports → a static site. What the browser gets lies in the top-level folder `leaderboard/`."""
