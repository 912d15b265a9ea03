"""The known mistakes, one table for each subject."""
