"""Published networks: their files found, verified and read into linen modules."""
