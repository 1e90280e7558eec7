"""He, Trott & Khosla: Seeing Through Words, Speaking Through Pixels."""
