"""Images to look at: as they are stored, as a network gets them, as training changes them."""
