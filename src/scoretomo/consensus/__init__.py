"""The consensus volume: one volume that explains all images, and the pose of each image in it."""
