"""A hidden regime that the candidates' errors reveal: an emulator of the ensemble, the regime's course, and a filter over both."""
