"""Converting images and labels to the layout that training reads, and checking data sets."""
