"""The leaderboard: methods trained and scored under one protocol, over several seeds."""
