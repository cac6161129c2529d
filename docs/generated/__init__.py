"""Pages, and parts of pages, that are made from the program and from records when the site is built."""
