"""The leaderboard: methods trained alike, scored alike, over several seeds, with all that published tables lack."""
