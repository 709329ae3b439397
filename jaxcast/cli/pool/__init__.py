"""Commands that train, roll and score pools."""
