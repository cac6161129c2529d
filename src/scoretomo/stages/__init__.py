"""The rooms: read files → call one procedure → write files. Printing and progress happen here and nowhere below."""
