"""Data of one's own: .npz files, tables in .csv files, folders of images by class, points in .npy files."""
