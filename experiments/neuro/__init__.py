"""Brain signals: activity recovered from them, and subjects classified by them."""
