"""Work on a whole results folder: merged, exported, pruned, checked."""
