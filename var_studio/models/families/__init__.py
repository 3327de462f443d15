"""One file per model family: prompt, visual spans and their place in the image."""
