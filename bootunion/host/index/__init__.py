"""The index: one EROFS of a list's merged namespace, whose files lie in the packages' images."""
