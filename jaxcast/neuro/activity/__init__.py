"""Total Activation: deconvolution of fMRI."""
