"""Networks in Keras files (HDF5)."""
