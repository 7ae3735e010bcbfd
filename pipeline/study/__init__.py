"""What a study may say: the model of the file, its ranges, and the catalogue of names."""
