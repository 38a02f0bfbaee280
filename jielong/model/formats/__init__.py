"""Models of other programs: their folders and files, in and out."""
