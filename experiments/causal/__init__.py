"""Effects of treatments whose true or published size is known, and a forecaster that weighs treatments by them."""
