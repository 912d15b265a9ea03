"""The folder that a reader works in: the course's files, exercises, and what has been solved."""
