"""What a crash left in a store: found, told, mended."""
